"""Ranks of the positives of queries in a gallery."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

SCORE_BYTES = 256 << 20
"""Memory for the scores of a block of queries."""

CACHED_SCORES = 1 << 20
"""Scores that are compared at a time."""

Ranks = Int[np.ndarray, " asked"]


class Positives(NamedTuple):
    """The ranks of all positives of the queries that have one.

    Attributes:
        query: ``[p]`` number of the query among those asked, from 0, ascending.
        rank: ``[p]`` rank of the positive, from 0, ascending within a query.
    """

    query: Int[np.ndarray, " p"]
    rank: Int[np.ndarray, " p"]

    @property
    def first(self) -> Int[np.ndarray, " asked"]:
        """Where the positives of each query begin."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))

    @property
    def best(self) -> Ranks:
        """The rank of the best positive of every query."""
        return self.rank[self.first]


@jax.jit
def _pair_ranks(
    queries: Float[Array, "q d"],
    gallery: Float[Array, "n d"],
    query_of: Int[Array, " p"],
    target: Int[Array, " p"],
) -> Int[Array, " p"]:
    scores = jnp.matmul(queries, gallery.T, precision=jax.lax.Precision.HIGHEST)
    row = jnp.arange(len(gallery))

    def rank(query: Int[Array, ""], target: Int[Array, ""]) -> Int[Array, ""]:
        own = scores[query, target]
        # Not "scores > own": a NaN must count against its query, not for it.
        behind = (scores[query] < own) | ((scores[query] == own) & (row >= target))
        return (~behind).sum()

    # A few pairs at a time, so that their scores stay in the processor's cache.
    few = max(1, CACHED_SCORES // max(1, len(gallery)))
    return jax.lax.map(lambda pair: rank(*pair), (query_of, target), batch_size=few)


def positive_ranks(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "n d"],
    pairs: Integer[np.ndarray, "p 2"],
    memory: int = SCORE_BYTES,
) -> Positives:
    """Return the rank of every positive of every query that has one.

    The score is the dot product. Among equal scores the lower row of the gallery ranks first, so
    that ranks do not depend on chance. A score that is no number counts against its query.

    Args:
        queries: ``[q, d]``.
        gallery: ``[n, d]``; it is on the device as a whole.
        pairs: ``[p, 2]`` (query, gallery) rows that belong together, many-to-many.
        memory: Bytes for a block of queries and its scores; ranks do not depend on it.

    Returns:
        Ranks from 0, in the order of the queries' rows; queries without a pair are left out.
    """
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    asked, query_of = np.unique(pairs[:, 0], return_inverse=True)
    a_query = 4 * len(gallery) + 8 * gallery.shape[1]  # its scores, and its row here and there
    chunk = max(1, memory // a_query)
    blocks = [slice(start, start + chunk) for start in range(0, len(pairs), chunk)]
    most = max((np.ptp(query_of[block]) + 1 for block in blocks), default=0)
    on_device, ranks = jnp.asarray(gallery), np.empty(len(pairs), np.int64)
    for block in blocks:
        first = min(query_of[block][0], len(asked) - most)  # as many queries in every block
        rows, of = queries[asked[first : first + most]], query_of[block] - first
        found = _pair_ranks(jnp.asarray(rows), on_device, *map(jnp.asarray, (of, pairs[block, 1])))
        ranks[block] = np.asarray(found)
    order = np.lexsort([ranks, query_of])
    return Positives(query_of[order], ranks[order])


def best_ranks(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "n d"],
    pairs: Integer[np.ndarray, "p 2"],
    memory: int = SCORE_BYTES,
) -> Ranks:
    """Return the rank of the best positive of every query that has one; see ``positive_ranks``."""
    return positive_ranks(queries, gallery, pairs, memory).best
