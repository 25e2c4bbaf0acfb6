"""Bootstrap over items: resamples, and the interval of a value or of a paired difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fb_jax.errors import require_range

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
    mean = np.mean([np.mean(sample) for sample in differences])
    return Interval(float(mean), *bounds(means))


@dataclass(frozen=True)
class Bootstrap:
    """How items are resampled.

    The same number of items is always resampled alike, so that samples of two models are paired.

    Attributes:
        resamples: Number of resamples.
        seed: Their seed.

    Raises:
        FreeBindError: One of them is out of range.
    """

    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("bootstrap", 0, 10**6, resamples=self.resamples)
        require_range("bootstrap", 0, 2**63 - 1, seed=self.seed)

    def draws(self, count: int) -> Iterator[Int[np.ndarray, " n"]]:
        """Yield how often each of some items counts: once each, then in every resample."""
        yield np.ones(count, np.int64)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            yield np.bincount(rng.integers(count, size=count), minlength=count)


def around(value: float, samples: Float[np.ndarray, " b"]) -> tuple[float, float]:
    """Return the percentile interval of some samples, moved so that their mean is the value.

    Resamples repeat items, and a repeated item ranks beside itself: without moving it, the interval
    of an average precision of few items lies above its value.
    """
    low, high = bounds(samples)
    bias = float(np.nanmean(samples)) - value
    return low - bias, high - bias


def bounds(samples: Float[np.ndarray, " b"]) -> tuple[float, float]:
    """Return the percentile interval of some samples; resamples without a value do not count."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)
