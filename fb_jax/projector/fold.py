"""The mixture for inference: BatchNorm folded into the Linears, all members at once.

In evaluation mode a BatchNorm is affine, so it and the Linear before it are one affine map:

    scale * (x W - mean) / sqrt(var + eps) + shift  =  x W' + b'
    W' = W * g,  b' = shift - mean * g,  g = scale / sqrt(var + eps)
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, dot_precision, normalised
from fb_jax.projector.mixture import Variables
from fb_jax.projector.projector import BatchNorm

MOST_ROWS, LEAST_ROWS = 4096, 8
"""Rows that are projected at a time; below the first, numbers of rows are powers of two."""


class Folded(NamedTuple):
    """The numbers of p members in evaluation mode: relu(x W_in + b_in) W_out + b_out, unit.

    Attributes:
        weight_in: ``[p, d_in, h]``.
        bias_in: ``[p, 1, h]``.
        weight_out: ``[p, h, d_out]``.
        bias_out: ``[p, 1, d_out]``.
    """

    weight_in: Float[Array, "p d_in h"]
    bias_in: Float[Array, "p 1 h"]
    weight_out: Float[Array, "p h d_out"]
    bias_out: Float[Array, "p 1 d_out"]


def fold(variables: Variables) -> Folded:
    """Fold each BatchNorm into the Linear before it; computed in float64.

    Args:
        variables: Of a mixture, leading axis p.

    Returns:
        The same functions, in the variables' dtype.
    """
    layers = [_affine(variables, place) for place in ("in", "out")]
    return Folded(*(jnp.asarray(array) for layer in layers for array in layer))


def _affine(variables: Variables, place: str) -> tuple[np.ndarray, np.ndarray]:
    linear, norm = variables.params[f"linear_{place}"], variables.params[f"norm_{place}"]
    running = variables.batch_stats[f"norm_{place}"]
    leaves = (linear["kernel"], norm["scale"], norm["shift"], running["mean"], running["var"])
    kernel, scale, shift, mean, var = (np.asarray(leaf, np.float64) for leaf in leaves)
    gain = (scale / np.sqrt(var + BatchNorm.epsilon))[:, None]
    dtype = linear["kernel"].dtype
    return (kernel * gain).astype(dtype), (shift[:, None] - mean[:, None] * gain).astype(dtype)


@partial(jax.jit, static_argnums=2)
def _mean_output(
    folded: Folded, x: Float[Array, "b d_in"], precision: Precision
) -> Float[Array, "b d_out"]:
    product = partial(jnp.matmul, precision=dot_precision(precision))
    hidden = jax.nn.relu(product(x[None], folded.weight_in) + folded.bias_in)
    return normalised(product(hidden, folded.weight_out) + folded.bias_out).mean(axis=0)


def mean_output(
    folded: Folded, x: Float[np.ndarray, "n d_in"], precision: Precision = "float32"
) -> Float[np.ndarray, "n d_out"]:
    """Return the mean of the members' unit outputs [P, C]; its direction is Psi(x).

    Rows go through in blocks of bounded size, the last one filled up to a power of two: whatever
    numbers of rows come, few programs are compiled.

    Args:
        folded: The mixture.
        x: ``[n, d_in]`` unit rows.
        precision: Of the matrix products.

    Returns:
        ``[n, d_out]`` rows, of norm 1 at most.
    """
    blocks = np.split(x, range(MOST_ROWS, len(x), MOST_ROWS))
    found = [_mean_output(folded, jnp.asarray(_filled(block)), precision) for block in blocks]
    kept = [np.asarray(rows)[: len(block)] for rows, block in zip(found, blocks, strict=True)]
    return np.concatenate(kept)


def _filled(block: np.ndarray) -> np.ndarray:
    """Return rows with zero rows behind them."""
    rows = max(LEAST_ROWS, 1 << (len(block) - 1).bit_length()) if len(block) else LEAST_ROWS
    return np.pad(block, [(0, rows - len(block)), (0, 0)])
