"""Search: the nearest items of a bank, exactly."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from fb_jax.banks import Rows, to_numpy
from fb_jax.banks.directions import checked_unit_rows, require_matrix
from fb_jax.errors import FreeBindError, require_range

BLOCK_ROWS, QUERY_ROWS = 65536, 256
"""Maximum number of rows and of queries whose scores are held at a time."""

MAX_TOP = 1 << 20
"""Maximum number of rows that a search finds."""


@partial(jax.jit, static_argnames="top")
def _best(
    queries: Float[Array, "q d"], block: Float[Array, "n d"], top: int
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """Return the best cosines of a block of rows; among equal ones the lower row comes first."""
    scores = jnp.matmul(queries, block.T, precision=jax.lax.Precision.HIGHEST)
    cosines = jnp.clip(scores, -1, 1)  # rounding may give 1.0000001
    best, rows = jax.lax.top_k(cosines, min(top, len(block)))
    return best, rows


def nearest(
    queries: Any, gallery: Rows, top: int
) -> tuple[Float32[np.ndarray, "q top"], Int[np.ndarray, "q top"]]:
    """Find the nearest rows of a gallery, which may be larger than memory.

    Queries must be rows of the gallery's space. Arrays do not say their space: rows of the unified
    space have the dimension of a combination, and find other items than fused ones. Fuse them
    first, with ``fb_jax.fusion.SearchedSpace`` or ``FusedSpace.fuse``; with hub correction, rows of
    items do not ask, and those in the role "query" do.

    Args:
        queries: ``[q, d]`` floats of any norm: NumPy, JAX or torch.
        gallery: ``[n, d]`` floats of any norm; it is read once. ``fb_jax.banks.Concatenated`` joins
            several galleries without copying them.
        top: Number of rows to find, 1 to 2^20; at most n are returned.

    Returns:
        Cosines in descending order, and their rows; among equal ones the lower row comes first.

    Raises:
        FreeBindError: Queries and gallery differ in dimension or do not hold floats, a row is NaN,
            infinite or zero, or ``top`` is out of range.
    """
    require_range("search", 1, MAX_TOP, top=top)
    queries = to_numpy(queries, "queries")
    require_matrix(queries, "queries")
    require_matrix(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise FreeBindError(
            "queries and bank differ in dimension",
            expected=f"{gallery.shape[1]} columns",
            got=f"{queries.shape[1]} columns",
            fix="queries must come from the space of the bank: fuse them first",
        )
    unit = checked_unit_rows(queries, "a search", "queries", "leave these queries out")
    parts = [jnp.asarray(unit[i : i + QUERY_ROWS]) for i in range(0, len(unit), QUERY_ROWS)]
    cosines, rows = np.empty((len(unit), 0), np.float32), np.empty((len(unit), 0), np.int64)
    for start in range(0, len(gallery), BLOCK_ROWS):
        block = _unit_block(gallery, start)
        found = [_best(part, block, top) for part in parts]
        best, numbers = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        cosines, rows = np.hstack([cosines, best]), np.hstack([rows, start + numbers])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :top]  # of 2 top candidates at most
        cosines = np.take_along_axis(cosines, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return cosines, rows


def _unit_block(gallery: Rows, start: int) -> Float[Array, "n d"]:
    rows = np.asarray(gallery[start : start + BLOCK_ROWS])
    where = getattr(gallery, "folder", "gallery")
    fix = "leave these items out; open_banks leaves out those that a bank lists as missing"
    return jnp.asarray(checked_unit_rows(rows, "a search", where, fix, start))
