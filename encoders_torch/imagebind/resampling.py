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


def length_at(count: int, rate: int, to: int) -> int:
    """Return how many samples a recording has at another rate.

    As torchaudio, it rounds the exact number to float32 before it rounds up, so that a long
    recording may be a sample shorter.
    """
    rate, to = _reduced(rate, to)
    if rate == to:
        return count
    return min(math.ceil(np.float32(to * count / rate)), (count // rate + 1) * to)


def resample(
    samples: Float32[np.ndarray, "samples channels"], rate: int, to: int, start: int, stop: int
) -> Float32[np.ndarray, "section channels"]:
    """Return samples ``start`` to ``stop`` of a recording at another rate.

    Args:
        samples: The whole recording; silence is assumed before and after it.
        rate: Its samples a second.
        to: Samples a second of the result.
        start: First sample, counted at the rate ``to``.
        stop: The sample after the last one.
    """
    rate, to = _reduced(rate, to)
    if rate == to or start == stop:
        return samples[start:stop]
    cut = ROLLOFF * min(rate, to) / rate  # in cycles per two samples
    reach = math.ceil(ZEROS / cut)
    nearest, phases = np.divmod(np.arange(start, stop, dtype=np.int64) * rate, to)
    distinct, which = np.unique(phases, return_inverse=True)
    weights = _kernel(distinct / to, cut, reach).astype(np.float32)[which]
    section = _padded(samples, int(nearest[0]) - reach, int(nearest[-1]) + reach + 2)
    windows = np.lib.stride_tricks.sliding_window_view(section, weights.shape[1], axis=0)
    at = nearest - nearest[0]
    channels = [np.einsum("nk,nk->n", windows[at, c], weights) for c in range(samples.shape[1])]
    return np.stack(channels, axis=1)


def _reduced(rate: int, to: int) -> tuple[int, int]:
    return rate // math.gcd(rate, to), to // math.gcd(rate, to)


def _kernel(phases: np.ndarray, cut: float, reach: int) -> np.ndarray:
    """Return weights [phases, 2 * reach + 2] of the samples around each fraction of a sample."""
    offsets = np.arange(-reach, reach + 2) - phases[:, None]
    at = np.clip(offsets * cut, -ZEROS, ZEROS)
    return cut * np.sinc(at) * np.cos(at * np.pi / ZEROS / 2) ** 2


def _padded(
    samples: Float32[np.ndarray, "samples channels"], start: int, stop: int
) -> Float32[np.ndarray, "section channels"]:
    """Return a section that may begin before the recording and end after it."""
    before, after = max(-start, 0), max(stop - len(samples), 0)
    return np.pad(samples[max(start, 0) : stop], ((before, after), (0, 0)))
