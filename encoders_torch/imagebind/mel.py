"""Kaldi's log-mel filterbank (Povey et al., ASRU 2011), without dither."""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float32, Float64

FRAME, HOP, TRANSFORM = 400, 160, 512
"""Samples: 25 ms and 10 ms at 16 kHz; and the next power of two."""

BINS, LOWEST = 128, 20.0
PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(
    samples: Float32[np.ndarray, " samples"], rate: int
) -> Float64[np.ndarray, "frames bins"]:
    """Return Kaldi's ``fbank`` features with a Hann window: 128 bins from 20 Hz to rate / 2.

    There are 1 + (samples - 400) // 160 frames, so at least 400 samples are needed. From each frame
    its mean is subtracted, then from each sample 0.97 of the one before it (from the first, of
    itself).
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - PREEMPHASIS * before) * np.hanning(FRAME)
    power = torch.from_numpy(np.abs(np.fft.rfft(windowed, TRANSFORM)) ** 2)
    # A product by NumPy would start threads in every worker; torch's are limited there.
    return np.log(np.maximum((power @ torch.from_numpy(_filters(rate))).numpy(), FLOOR))


@functools.cache
def _filters(rate: int) -> Float64[np.ndarray, "frequencies bins"]:
    """Return triangles of equal width in mel, from each neighbour's centre to the other's."""
    lowest, highest = _mel(np.array([LOWEST, rate / 2]))
    edges = np.linspace(lowest, highest, BINS + 2)
    mels = _mel(np.fft.rfftfreq(TRANSFORM, 1 / rate))[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0)


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(hertz / 700)
