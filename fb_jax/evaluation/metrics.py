"""Metrics of ranks, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fb_jax import files
from fb_jax.evaluation.ranks import Positives, Ranks
from fb_jax.registry import METRICS

KS = (1, 5, 10)
RECALLS = tuple(f"R@{k}" for k in KS)
ACCURACIES = ("top-1", "top-5")
"""Metrics of items with one class each: an item is right if its class is among the first k."""
MAP = "mAP"
"""Metric of items with several classes: see ``average_precisions``."""
LEADING = ("R@1", "top-1", MAP)
"""Metrics by which models are compared in a sentence: the one that a task has."""

Metric = Callable[[Any], float]


def recall_at(k: int, name: str) -> Metric:
    """Register the percentage of queries whose best positive is among the first k."""

    def recall(ranks: Ranks) -> float:
        return float(100 * np.mean(ranks < k))

    return METRICS.register(name)(recall)


for _k in KS:
    recall_at(_k, f"R@{_k}")
for _k in (1, 5):
    recall_at(_k, f"top-{_k}")


@METRICS.register("median rank")
def median_rank(ranks: Ranks) -> float:
    """Return the median rank of the best positive, from 1."""
    return float(np.median(ranks) + 1)


@METRICS.register("MRR")
def mean_reciprocal_rank(ranks: Ranks) -> float:
    """Return the mean of 1 / rank of the best positive, in percent; ranks from 1."""
    return float(100 * np.mean(1 / (ranks + 1)))


def of_all_positives(metric: Callable[[Positives], np.ndarray]) -> Any:
    """Mark a metric as a function of the ranks of all positives, with a value for each query.

    The metric of a direction is then the mean over its queries.
    """
    metric.all_positives = True  # type: ignore[attr-defined]
    return metric


@METRICS.register("mAP@10")
@of_all_positives
def average_precision_at_10(positives: Positives) -> Float[np.ndarray, " asked"]:
    """Return the average precision among the first 10 of every query, in percent.

    It is the mean of the precision at the rank of each positive among the first 10; a query with
    fewer than 10 positives has as many terms as positives, so that 100 can be reached [O].
    """
    first = positives.first
    count = np.diff(first, append=len(positives.rank))
    above = np.arange(len(positives.rank)) - np.repeat(first, count) + 1
    terms = np.where(positives.rank < 10, above / (positives.rank + 1), 0)
    return 100 * np.add.reduceat(terms, first) / np.minimum(count, 10)


class Measure(NamedTuple):
    """A metric of one direction: a function of what it takes of each query.

    Attributes:
        queries: ``[asked]``, the rank of each query's best positive, or a value.
        metric: Function of these, or of a resample of them.
    """

    queries: np.ndarray
    metric: Metric

    def of(self, times: np.ndarray | None = None) -> float:
        """Return the metric; ``times`` is how often each query counts."""
        queries = self.queries if times is None else np.repeat(self.queries, times)
        return float(self.metric(queries))


def measure(name: str, positives: Positives) -> Measure:
    """Return a metric of the positives of a direction.

    Raises:
        FreeBindError: There is no such metric, or it does not give a number.
    """
    metric = METRICS.get(name)
    with files.explained("a metric does not fit", name, "it takes ranks [n] from 0"):
        if getattr(metric, "all_positives", False):
            return Measure(metric(positives), np.mean)
        found = Measure(positives.best, metric)
        found.of()
        return found


def require_metric(name: str) -> None:
    """Raise a FreeBindError unless there is such a metric, which gives a number for some ranks."""
    measure(name, Positives(np.array([0, 1]), np.array([0, 3])))
