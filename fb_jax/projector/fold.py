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

from fb_jax.numerics import Precision, matmul, normalised
from fb_jax.projector.mixture import Variables
from fb_jax.projector.projector import BatchNorm

MAX_ROWS, MIN_ROWS = 4096, 8
"""Maximum and minimum block size; smaller blocks are padded to a power of two."""


class Folded(NamedTuple):
    """The numbers of p members in evaluation mode: unit(relu(x W_in + b_in) W_out + b_out).

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
    """Fold each BatchNorm into the Linear before it, in float64.

    Args:
        variables: Numbers of a mixture, leading axis p.

    Returns:
        The same functions, in the variables' dtype.
    """
    layers = [_affine(variables, layer) for layer in ("in", "out")]
    return Folded(*(jnp.asarray(array) for layer in layers for array in layer))


def _affine(variables: Variables, layer: str) -> tuple[np.ndarray, np.ndarray]:
    linear, norm = variables.params[f"linear_{layer}"], variables.params[f"norm_{layer}"]
    running = variables.batch_stats[f"norm_{layer}"]
    leaves = (linear["kernel"], norm["scale"], norm["shift"], running["mean"], running["var"])
    kernel, scale, shift, mean, var = (np.asarray(leaf, np.float64) for leaf in leaves)
    gain = (scale / np.sqrt(var + BatchNorm.epsilon))[:, None]
    dtype = linear["kernel"].dtype
    return (kernel * gain).astype(dtype), (shift[:, None] - mean[:, None] * gain).astype(dtype)


@partial(jax.jit, static_argnums=2)
def _mean_output(
    folded: Folded, x: Float[Array, "b d_in"], precision: Precision
) -> Float[Array, "b d_out"]:
    hidden = jax.nn.relu(matmul(x[None], folded.weight_in, precision) + folded.bias_in)
    outputs = matmul(hidden, folded.weight_out, precision) + folded.bias_out
    return normalised(outputs).mean(axis=0)


def mean_output(
    folded: Folded, x: Float[np.ndarray, "n d_in"], precision: Precision = "float32"
) -> Float[np.ndarray, "n d_out"]:
    """Return the mean of the members' unit outputs [P, C]; its direction is Psi(x).

    Rows are projected in blocks of bounded size and the last block is padded to a power of two, so
    that few programs are compiled. One block is on the device at a time.

    Args:
        folded: The mixture.
        x: ``[n, d_in]`` unit rows.
        precision: Precision of the matrix products.

    Returns:
        ``[n, d_out]`` rows of norm 1 at most.
    """
    blocks = np.split(x, range(MAX_ROWS, len(x), MAX_ROWS))
    return np.concatenate(
        [
            np.asarray(_mean_output(folded, jnp.asarray(_padded(block)), precision))[: len(block)]
            for block in blocks
        ]
    )


def _padded(block: np.ndarray) -> np.ndarray:
    """Return rows followed by zero rows."""
    rows = max(MIN_ROWS, 1 << (len(block) - 1).bit_length()) if len(block) else MIN_ROWS
    return np.pad(block, [(0, rows - len(block)), (0, 0)])
