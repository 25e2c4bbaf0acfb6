"""Search: the nearest items of a bank, exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from fb_jax.banks import Rows, unit_rows
from fb_jax.banks.bank import find_bad_rows
from fb_jax.errors import FreeBindError, require_positive

BLOCK_ROWS, QUERY_ROWS = 65536, 256
"""Rows and queries whose scores are held at a time."""


@jax.jit
def _scores(queries: Float[Array, "q d"], block: Float[Array, "n d"]) -> Float[Array, "q n"]:
    return jnp.matmul(queries, block.T, precision=jax.lax.Precision.HIGHEST)


def nearest(
    queries: Float[np.ndarray, "q d"], gallery: Rows, top: int
) -> tuple[Float32[np.ndarray, "q top"], Int[np.ndarray, "q top"]]:
    """Find the nearest rows of a gallery, which may be larger than memory.

    Args:
        queries: ``[q, d]``, of any norm.
        gallery: ``[n, d]`` unit rows.
        top: How many to find; at most n are returned.

    Returns:
        Cosines in descending order, and the rows they belong to; of equal ones the lower row first.

    Raises:
        FreeBindError: Queries and gallery differ in dimension, a query has no direction, or
            ``top`` is not positive.
    """
    require_positive("search", top=top)
    for kind, rows in find_bad_rows(queries).items():
        if len(rows):
            raise FreeBindError(f"a query is {kind}", got=f"row {rows[0]}, {len(rows)} in all")
    if queries.shape[1] != gallery.shape[1]:
        raise FreeBindError(
            "queries and bank differ in dimension",
            expected=f"{gallery.shape[1]} columns",
            got=f"{queries.shape[1]} columns",
            fix="queries must come from the space of the bank: fuse them first",
        )
    parts = [queries[i : i + QUERY_ROWS] for i in range(0, len(queries), QUERY_ROWS)]
    found = [_nearest(unit_rows(part), gallery, top) for part in parts]
    return np.concatenate([c for c, _ in found]), np.concatenate([r for _, r in found])


def _nearest(queries: np.ndarray, gallery: Rows, top: int) -> tuple[np.ndarray, np.ndarray]:
    on_device = jnp.asarray(queries)
    cosines = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(gallery), BLOCK_ROWS):
        block = np.asarray(_scores(on_device, jnp.asarray(gallery[start : start + BLOCK_ROWS])))
        numbers = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        cosines, rows = np.hstack([cosines, block]), np.hstack([rows, numbers])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
        cosines = np.take_along_axis(cosines, best, axis=1)
        rows = np.take_along_axis(rows, best, axis=1)
    return cosines, rows
