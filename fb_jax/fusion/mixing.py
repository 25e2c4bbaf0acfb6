"""Mixing the parts of a fused row: pure JAX on arrays, for ``jit``, ``vmap`` and ``grad``."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import normalised as unit

__all__ = ["direct_sum", "side_by_side", "unit", "weighted_sum"]


def weighted_sum(
    unified: Float[Array, "*n d"], expert: Float[Array, "*n d"], factor: Float[Array, ""] | float
) -> Float[Array, "*n d"]:
    """Eq. 3, 9, 10: ``(1 - s) * unified + s * expert``, not normalised [P].

    Args:
        unified: ``[n, d]``, the unified part.
        expert: ``[n, d]``, the expert part.
        factor: Weight s of the expert part, 0 to 1.
    """
    return (1 - factor) * unified + factor * expert


def side_by_side(
    blocks: Sequence[Float[Array, "*n _"]], weights: Sequence[Float[Array, ""] | float]
) -> Float[Array, "*n d"]:
    """Return blocks side by side: unit rows from unit rows.

    The score of two such rows is the weighted mean of the blocks' scores.

    Args:
        blocks: ``[n, d_i]`` rows each.
        weights: Squared norm of each block, relative to the others.
    """
    squares = jnp.asarray(weights, blocks[0].dtype)
    shares = jnp.sqrt(squares / squares.sum())
    return jnp.concatenate([share * x for share, x in zip(shares, blocks, strict=True)], axis=-1)


def direct_sum(
    unified: Float[Array, "*n d_u"],
    expert: Float[Array, "*n d_e"],
    weight: Float[Array, ""] | float,
) -> Float[Array, "*n d"]:
    """Return ``[sqrt(1 - w) * unified ; sqrt(w) * expert]`` [O]: unit rows from unit rows.

    Args:
        unified: ``[n, d_u]`` unit rows.
        expert: ``[n, d_e]`` unit rows.
        weight: Squared norm w of the expert's block, 0 to 1.
    """
    return side_by_side([unified, expert], [1 - weight, weight])
