"""The objective: InfoNCE between every projected and every target modality (Eq. 7, 8)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, dot_precision

TEMPERATURE = 0.02
"""Temperature of InfoNCE, 1/50 [P]."""


def info_nce(
    x: Float[Array, "b d"],
    y: Float[Array, "b d"],
    *,
    temperature: float = TEMPERATURE,
    symmetric: bool = True,
    precision: Precision = "float32",
) -> Float[Array, ""]:
    """InfoNCE: the cross-entropy of finding row i of ``y`` from row i of ``x``.

    ``mean_i [ logsumexp_j(s_ij) - s_ii ]`` with ``s = x y^T / temperature``; symmetric: the mean
    of that and of the same for ``s^T`` [O].

    Args:
        x: ``[b, d]`` unit rows.
        y: ``[b, d]`` unit rows.
        temperature: 1/50 [P].
        symmetric: Also find x from y [O].
        precision: Of the product.

    Returns:
        A scalar, in nats.
    """
    scores = jnp.matmul(x, y.T, precision=dot_precision(precision)) / temperature
    rows = jax.nn.logsumexp(scores, axis=1).mean()
    both = (rows + jax.nn.logsumexp(scores, axis=0).mean()) / 2 if symmetric else rows
    return both - jnp.diagonal(scores).mean()


def bond_loss(
    projected: Mapping[str, Float[Array, "b d"]],
    target: Mapping[str, Float[Array, "b d"]],
    *,
    temperature: float = TEMPERATURE,
    symmetric: bool = True,
    precision: Precision = "float32",
) -> Float[Array, ""]:
    """Eq. 7 (displacement) or Eq. 8 (combination): six terms for 2 x 3 modalities.

    Args:
        projected: Modality to ``[b, d]`` unit outputs of the projector.
        target: Modality to ``[b, d]`` unit rows of the frozen space.
        temperature: See ``info_nce``.
        symmetric: See ``info_nce``.
        precision: See ``info_nce``.

    Returns:
        The sum of InfoNCE over every projected and every target modality.
    """
    term = partial(info_nce, temperature=temperature, symmetric=symmetric, precision=precision)
    return sum((term(x, y) for x in projected.values() for y in target.values()), jnp.zeros(()))
