"""Retrieval between two sets of embeddings: ranks, and metrics of ranks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from fb_jax import files
from fb_jax.registry import METRICS

KS = (1, 5, 10)
RECALLS = tuple(f"R@{k}" for k in KS)
SCORE_BYTES = 256 << 20
"""Memory for the scores of a block of queries."""

Ranks = Int[np.ndarray, " asked"]
Metric = Callable[[Ranks], float]


@jax.jit
def _best_ranks(
    queries: Float[Array, "q d"], gallery: Float[Array, "n d"], positive: Bool[Array, "q n"]
) -> Int[Array, " q"]:
    scores = jnp.matmul(queries, gallery.T, precision=jax.lax.Precision.HIGHEST)
    best = jnp.where(positive, scores, -jnp.inf).max(axis=1, keepdims=True)
    row = jnp.arange(len(gallery))
    first = jnp.where(positive & (scores == best), row, len(gallery)).min(axis=1, keepdims=True)
    # Not "scores > best": a NaN must count against its query, not for it.
    ahead = ~((scores < best) | ((scores == best) & (row >= first)))
    return ahead.sum(axis=1)


def best_ranks(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "n d"],
    pairs: Integer[np.ndarray, "p 2"],
) -> Ranks:
    """Return the rank of the best positive of every query that has one.

    The score is the dot product. Among equal scores the lower row of the gallery ranks first, so
    that ranks do not depend on chance.

    Args:
        queries: ``[q, d]``.
        gallery: ``[n, d]``.
        pairs: ``[p, 2]`` (query, gallery) rows that belong together, many-to-many.

    Returns:
        Ranks from 0, in the order of the queries' rows; queries without a pair are left out.
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


def recall_at(k: int) -> Metric:
    """Return R@k: the percentage of queries whose best positive is among the first k."""

    def recall(ranks: Ranks) -> float:
        return float(100 * np.mean(ranks < k))

    return METRICS.register(f"R@{k}")(recall)


for _k in KS:
    recall_at(_k)


@METRICS.register("median rank")
def median_rank(ranks: Ranks) -> float:
    """Return the median rank of the best positive, from 1."""
    return float(np.median(ranks) + 1)


@METRICS.register("MRR")
def mean_reciprocal_rank(ranks: Ranks) -> float:
    """Return the mean of 1 / rank of the best positive, in percent; ranks from 1."""
    return float(100 * np.mean(1 / (ranks + 1)))


def measured(name: str, ranks: Ranks) -> float:
    """Return a metric of some ranks.

    Raises:
        FreeBindError: There is no such metric, or it does not give a number.
    """
    metric = METRICS.get(name)
    with files.explained("a metric does not fit", name, "it takes ranks [n] from 0"):
        return float(metric(ranks))


def direction_ranks(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
) -> dict[str, Ranks]:
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
    metrics: Sequence[str] = RECALLS,
) -> dict[str, float]:
    """Evaluate retrieval between two modalities.

    Args:
        left: ``[n, d]`` rows.
        right: ``[m, d]`` rows.
        pairs: ``[p, 2]`` (left, right) rows that belong together.
        names: Names of both modalities, for the keys.
        metrics: Names of metrics: functions of the ranks of the best positives, from 0.

    Returns:
        Each metric, the mean of both directions (which fits the paper's figures [O]); then
        ``METRIC left->right`` and ``METRIC right->left``.

    Raises:
        FreeBindError: There is no such metric.
    """
    directions = direction_ranks(left, right, pairs, names)
    values = {
        direction: {name: measured(name, ranks) for name in metrics}
        for direction, ranks in directions.items()
    }
    means = {name: float(np.mean([v[name] for v in values.values()])) for name in metrics}
    return means | {f"{name} {d}": v for d, own in values.items() for name, v in own.items()}


def classification(
    items: Float[np.ndarray, "n d"],
    classes: Float[np.ndarray, "c d"],
    labels: Integer[np.ndarray, "p 2"],
) -> dict[str, float]:
    """Return zero-shot top-1 and top-5 accuracy in percent (Table 1).

    An item is right if one of its classes is among the first k.

    Args:
        items: ``[n, d]`` rows.
        classes: ``[c, d]`` rows, see ``class_rows``.
        labels: ``[p, 2]`` (item, class) rows.
    """
    ranks = best_ranks(items, classes, labels)
    return {f"top-{k}": float(100 * np.mean(ranks < k)) for k in (1, 5)}
