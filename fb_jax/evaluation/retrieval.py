"""Retrieval: recall at k from two sets of embeddings and a table of which belong together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

KS = (1, 5, 10)
SCORE_BYTES = 256 << 20
"""Memory for scores at a time."""


@jax.jit
def _best_ranks(
    queries: Float[Array, "q d"], gallery: Float[Array, "n d"], positive: Bool[Array, "q n"]
) -> Int[Array, " q"]:
    scores = jnp.matmul(queries, gallery.T, precision=jax.lax.Precision.HIGHEST)
    best = jnp.where(positive, scores, -jnp.inf).max(axis=1, keepdims=True)
    place = jnp.arange(len(gallery))
    first = jnp.where(positive & (scores == best), place, len(gallery)).min(axis=1, keepdims=True)
    # Not "scores > best": a NaN must count against its query, not for it.
    ahead = ~((scores < best) | ((scores == best) & (place >= first)))
    return ahead.sum(axis=1)


def best_ranks(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "n d"],
    pairs: Integer[np.ndarray, "p 2"],
) -> Int[np.ndarray, " asked"]:
    """Return the rank of the best positive of every query that has one.

    The score is the dot product. Of equal scores the lower row of the gallery ranks first, so
    ranks do not depend on chance.

    Args:
        queries: ``[q, d]``.
        gallery: ``[n, d]``.
        pairs: ``[p, 2]`` (query, gallery) rows that belong together, many-to-many.

    Returns:
        Ranks from 0, in the order of the queries' rows; queries without a pair are not asked.
    """
    asked, query_of = np.unique(pairs[:, 0], return_inverse=True)
    chunk = max(1, SCORE_BYTES // (4 * len(gallery)))
    on_device = jnp.asarray(gallery)
    ranks = []
    for start in range(0, len(asked), chunk):
        rows = asked[start : start + chunk]
        here = (query_of >= start) & (query_of < start + chunk)
        positive = np.zeros((len(rows), len(gallery)), bool)
        positive[query_of[here] - start, pairs[here, 1]] = True
        ranks.append(_best_ranks(jnp.asarray(queries[rows]), on_device, jnp.asarray(positive)))
    return np.concatenate([np.asarray(part) for part in ranks]) if ranks else np.empty(0, int)


def recall(ranks: Int[np.ndarray, " q"], k: int) -> float:
    """Return R@k: the percentage of queries whose best positive is among the first k."""
    return float(100 * np.mean(ranks < k))


def direction_ranks(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
) -> dict[str, Int[np.ndarray, " q"]]:
    """Return the ranks of ``left->right`` and of ``right->left``; see ``best_ranks``."""
    return {
        "->".join(names): best_ranks(left, right, pairs),
        "->".join(reversed(names)): best_ranks(right, left, pairs[:, ::-1]),
    }


def retrieval(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
) -> dict[str, float]:
    """Evaluate retrieval between two modalities.

    Args:
        left: ``[n, d]`` rows.
        right: ``[m, d]`` rows.
        pairs: ``[p, 2]`` (left, right) rows that belong together.
        names: Of both modalities, for the keys.

    Returns:
        In percent: ``R@k`` for k of 1, 5, 10, the mean of both directions (which fits the paper's
        figures [O]), and ``R@k left->right`` and ``R@k right->left``.
    """
    directions = direction_ranks(left, right, pairs, names)
    found = {f"R@{k}": float(np.mean([recall(r, k) for r in directions.values()])) for k in KS}
    for direction, ranks in directions.items():
        found |= {f"R@{k} {direction}": recall(ranks, k) for k in KS}
    return found
