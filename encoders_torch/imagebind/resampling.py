"""Resamples a section of a recording with a windowed sinc.

It computes what torchaudio's ``resample`` does with its defaults, which ImageBind's released code
uses. Resamplers differ near half the sample rate: with soxr, normalised spectrograms of the test
recordings differ by up to 1.5 from the released code's, with this function by 4e-3.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

ZEROS = 6
"""Zero crossings of the sinc on each side."""

ROLLOFF = 0.99
"""Cutoff frequency, as a share of half the lower rate."""


def resample(
    samples: Float32[np.ndarray, " samples"], rate: int, to: int, start: int, stop: int
) -> Float32[np.ndarray, " stretch"]:
    """Return samples ``start`` to ``stop`` of a recording at another rate.

    Args:
        samples: The whole recording; silence is assumed before and after it.
        rate: Its samples a second.
        to: Samples a second of the result.
        start: First sample, counted at the rate ``to``.
        stop: The sample after the last one.
    """
    rate, to = rate // math.gcd(rate, to), to // math.gcd(rate, to)
    cut = ROLLOFF * min(rate, to) / rate  # in cycles per two samples
    reach = math.ceil(ZEROS / cut)
    nearest, phases = np.divmod(np.arange(start, stop, dtype=np.int64) * rate, to)
    distinct, which = np.unique(phases, return_inverse=True)
    weights = _kernel(distinct / to, cut, reach).astype(np.float32)[which]
    stretch = _padded(samples, int(nearest[0]) - reach, int(nearest[-1]) + reach + 2)
    windows = np.lib.stride_tricks.sliding_window_view(stretch, weights.shape[1])
    return np.einsum("nk,nk->n", windows[nearest - nearest[0]], weights)


def _kernel(phases: np.ndarray, cut: float, reach: int) -> np.ndarray:
    """Return weights [phases, 2 * reach + 2] of the samples around each fraction of a sample."""
    offsets = np.arange(-reach, reach + 2) - phases[:, None]
    at = np.clip(offsets * cut, -ZEROS, ZEROS)
    return cut * np.sinc(at) * np.cos(at * np.pi / ZEROS / 2) ** 2


def _padded(
    samples: Float32[np.ndarray, " samples"], start: int, stop: int
) -> Float32[np.ndarray, " stretch"]:
    """Return a section that may begin before the recording and end after it."""
    before, after = max(-start, 0), max(stop - len(samples), 0)
    return np.pad(samples[max(start, 0) : stop], (before, after))
