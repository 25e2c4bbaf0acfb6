"""The mixture for inference: BatchNorm folded into the Linears, all members at once.

In evaluation mode a BatchNorm is affine, so it and the Linear before it are one affine map:

    scale * (x W - mean) / sqrt(var + eps) + shift  =  x W' + b'
    W' = W * g,  b' = shift - mean * g,  g = scale / sqrt(var + eps)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, matmul, normalised
from fb_jax.projector.mcr import GAP
from fb_jax.projector.mixture import Variables
from fb_jax.projector.projector import BatchNorm

MAX_ROWS, MIN_ROWS = 4096, 8
"""Maximum and minimum block size; smaller blocks are padded to a power of two."""


class Folded(NamedTuple):
    """The numbers of p members in evaluation mode, for one route.

    ``unit(... relu(x W_0 + b_0) W_1 + b_1 ...)``: a ReLU follows every even layer.

    Attributes:
        weights: ``[p, d, d']`` for each layer.
        biases: ``[p, 1, d']`` for each layer.
    """

    weights: tuple[Float[Array, "p _ _"], ...]
    biases: tuple[Float[Array, "p 1 _"], ...]


def fold(variables: Variables, route: str = "") -> Folded:
    """Fold each BatchNorm into the Linear before it, in float64.

    Args:
        variables: Numbers of a mixture, leading axis p.
        route: See ``fb_jax.projector.mcr``.

    Returns:
        The same functions, in the variables' dtype.
    """
    layers = [affine(*mlp, layer) for mlp in _mlps(variables, route) for layer in ("in", "out")]
    if route == GAP:  # a Linear before a Linear is one Linear
        gap, (weight, bias) = variables.params[GAP], layers[0]
        kernel, shift = (np.asarray(gap[name], np.float64) for name in ("kernel", "bias"))
        layers[0] = kernel @ weight, shift[:, None] @ weight + bias
    dtype = jax.tree.leaves(variables.params)[0].dtype
    weights, biases = zip(*layers, strict=True)
    return Folded(*(tuple(jnp.asarray(x, dtype) for x in side) for side in (weights, biases)))


def _mlps(variables: Variables, route: str) -> list[tuple[Any, Any]]:
    """Return parameters and statistics of the MLPs on a route, in order."""
    params, stats = variables
    if "linear_in" in params:
        return [(params, stats)]
    names = ("first", "second") if "first" in params else (route,)
    return [(params[name], stats[name]) for name in names]


def affine(params: Any, stats: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return W' ``[..., d, d']`` and b' ``[..., 1, d']`` of a layer, float64."""
    linear, norm, running = (
        params[f"linear_{layer}"],
        params[f"norm_{layer}"],
        stats[f"norm_{layer}"],
    )
    leaves = (linear["kernel"], norm["scale"], norm["shift"], running["mean"], running["var"])
    kernel, scale, shift, mean, var = (np.asarray(leaf, np.float64) for leaf in leaves)
    gain = (scale / np.sqrt(var + BatchNorm.epsilon))[..., None, :]
    return kernel * gain, shift[..., None, :] - mean[..., None, :] * gain


@partial(jax.jit, static_argnums=2)
def _mean_output(
    folded: Folded, x: Float[Array, "b d_in"], precision: Precision
) -> Float[Array, "b d_out"]:
    rows = x[None]
    for layer, (weight, bias) in enumerate(zip(*folded, strict=True)):
        rows = matmul(rows, weight, precision) + bias
        rows = rows if layer % 2 else jax.nn.relu(rows)
    return normalised(rows).mean(axis=0)


def mean_output(
    folded: Folded, x: Float[np.ndarray, "n d_in"], precision: Precision = "float32"
) -> Float[np.ndarray, "n d_out"]:
    """Return the mean of the members' unit outputs [P, C]; its direction is Psi(x).

    Args:
        folded: The mixture.
        x: ``[n, d_in]`` unit rows.
        precision: Precision of the matrix products.

    Returns:
        ``[n, d_out]`` rows of norm 1 at most.
    """
    return in_blocks(lambda block: _mean_output(folded, block, precision), x)


def in_blocks(
    compute: Callable[[Array], Array], x: Float[np.ndarray, "n d_in"]
) -> Float[np.ndarray, "n d_out"]:
    """Return what a function of rows gives for each row, in blocks of bounded size.

    The last block is padded to a power of two, so that few programs are compiled. One block is on
    the device at a time.
    """
    blocks = np.split(x, range(MAX_ROWS, len(x), MAX_ROWS))
    return np.concatenate(
        [np.asarray(compute(jnp.asarray(_padded(block))))[: len(block)] for block in blocks]
    )


def _padded(block: np.ndarray) -> np.ndarray:
    """Return rows followed by zero rows."""
    rows = max(MIN_ROWS, 1 << (len(block) - 1).bit_length()) if len(block) else MIN_ROWS
    return np.pad(block, [(0, rows - len(block)), (0, 0)])
