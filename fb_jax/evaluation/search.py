"""Search: the nearest items of a bank, exactly."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from fb_jax.banks import Rows, unit_rows
from fb_jax.banks.bank import find_bad_rows, require_matrix
from fb_jax.errors import FreeBindError, require_positive

BLOCK_ROWS, QUERY_ROWS = 65536, 256
"""Maximum number of rows and of queries whose scores are held at a time."""


@partial(jax.jit, static_argnames="top")
def _best(
    queries: Float[Array, "q d"], block: Float[Array, "n d"], top: int
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """Return the best scores of a block of rows; among equal ones the lower row comes first."""
    scores = jnp.matmul(queries, block.T, precision=jax.lax.Precision.HIGHEST)
    best, rows = jax.lax.top_k(scores, min(top, len(block)))
    return best, rows


def nearest(
    queries: Float[np.ndarray, "q d"], gallery: Rows, top: int
) -> tuple[Float32[np.ndarray, "q top"], Int[np.ndarray, "q top"]]:
    """Find the nearest rows of a gallery, which may be larger than memory.

    Args:
        queries: ``[q, d]``, of any norm.
        gallery: ``[n, d]`` unit rows.
        top: Number of rows to find; at most n are returned.

    Returns:
        Cosines in descending order, and their rows; among equal ones the lower row comes first.

    Raises:
        FreeBindError: Queries and gallery differ in dimension, a query has no direction, or
            ``top`` is not positive.
    """
    require_positive("search", top=top)
    require_matrix(queries, "queries")
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
        block = jnp.asarray(gallery[start : start + BLOCK_ROWS])
        best, numbers = _best(on_device, block, top)
        cosines, rows = np.hstack([cosines, best]), np.hstack([rows, start + np.asarray(numbers)])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :top]  # of 2 top candidates at most
        cosines = np.take_along_axis(cosines, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
    return cosines, rows
