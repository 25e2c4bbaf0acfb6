"""Pseudo item pairs: for every item of the pool, its nearest one of another modality.

OmniBind retrieves items where FreeBind aggregates embeddings [P]. The scores are corrected for hubs
(``fb_jax.fusion.hubs``), without which few items are the nearest of very many [O].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from fb_jax.fusion.hubs import BLOCK_SCORES, highest_scores
from fb_jax.numerics import matmul


def partners(
    x: Float32[np.ndarray, "n d"], y: Float32[np.ndarray, "m d"], k: int, alpha: float
) -> Int[np.ndarray, " n"]:
    """Return the row of y that each row of x scores highest with, corrected for hubs of y.

    Args:
        x: ``[n, d]`` rows; they are also the references of the correction.
        y: ``[m, d]`` rows.
        k: Number of references whose scores are averaged; all of them if there are fewer.
        alpha: Weight of the correction.
    """
    bias = alpha * highest_scores(y, x, k).mean(axis=1)
    size = max(1, BLOCK_SCORES // len(y))
    blocks = np.split(x, range(size, len(x), size))
    return np.concatenate([np.asarray(_best(block, y, bias)) for block in blocks]).astype(np.int64)


@jax.jit
def _best(
    rows: Float[Array, "n d"], gallery: Float[Array, "m d"], bias: Float[Array, " m"]
) -> Int[Array, " n"]:
    return jnp.argmax(matmul(rows, gallery.T) - bias, axis=1)


def item_pairs(
    x: Float32[np.ndarray, "n d"],
    y: Float32[np.ndarray, "m d"],
    *,
    k: int,
    alpha: float,
    mutual: bool = False,
) -> Int[np.ndarray, "p 2"]:
    """Return pairs of rows: of every row of x with its nearest of y, then of every row of y.

    Args:
        x: ``[n, d]`` rows of one modality.
        y: ``[m, d]`` rows of another.
        k: See ``partners``.
        alpha: See ``partners``.
        mutual: Only pairs that are found from both sides, once each.
    """
    ahead, back = partners(x, y, k, alpha), partners(y, x, k, alpha)
    pairs = np.stack([np.arange(len(x)), ahead], axis=1)
    if mutual:
        return pairs[back[ahead] == np.arange(len(x))]
    return np.concatenate([pairs, np.stack([back, np.arange(len(y))], axis=1)])
