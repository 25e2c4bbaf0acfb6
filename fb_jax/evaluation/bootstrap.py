"""Paired bootstrap: the interval of a difference between two models on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean difference and the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    differences: Sequence[np.ndarray], seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Bootstrap the mean of paired differences over items, within each of several samples.

    Each sample (a gallery under one seed) is resampled by itself and has the same weight. So the
    interval is about other items in these samples, not about other samples.

    Args:
        differences: For each sample, ``[n]`` differences of the two models by item.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Returns:
        The mean and its percentile interval.
    """
    rng = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for sample in differences:
        values, counts = np.unique(sample, return_counts=True)  # few values: faster than to gather
        drawn = rng.multinomial(len(sample), counts / len(sample), size=resamples)
        means += drawn @ values / len(sample) / len(differences)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = np.mean([np.mean(sample) for sample in differences])
    return Interval(float(mean), float(low), float(high))
