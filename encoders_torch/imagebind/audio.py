"""Turns a recording's first channel into spectrograms of three clips, at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from encoders_torch.imagebind.mel import FRAME, log_mel
from encoders_torch.imagebind.resampling import resample
from encoders_torch.media import Media, read_channels
from fb_jax.errors import FreeBindError

RATE = 16000
CLIPS, CLIP_SECONDS, FRAMES = 3, 2, 204
MEAN, DEVIATION = -4.268, 9.138
"""Of log-mel values in AudioSet, from ImageBind's released code."""


def read_clips(path: Media | Path) -> Float32[np.ndarray, "clips 1 bins frames"]:
    """Read a recording, and prepare it; see ``clips``.

    Raises:
        FreeBindError: It is unreadable, holds no sound, or is shorter than a frame of 25 ms.
    """
    samples, rate = read_channels(path)
    if _length(len(samples), rate) < FRAME:
        raise FreeBindError(
            "a recording is too short",
            where=path,
            expected=f"{1000 * FRAME // RATE} ms",
            got=f"{1000 * len(samples) / rate:.1f} ms",
        )
    return clips(samples[:, 0], rate)


def clips(
    samples: Float32[np.ndarray, " samples"], rate: int
) -> Float32[np.ndarray, "clips 1 bins frames"]:
    """Return the spectrograms of three clips of two seconds, or of the whole recording if shorter.

    Of L seconds, the clips start at 0, 1/3 and 2/3 of L - 2, so the end is in none of them. Missing
    frames are 0 before normalisation, as in ImageBind's released code. That code also subtracts a
    clip's mean; we do not, since every frame loses its mean anyway.
    """
    spare = max(_length(len(samples), rate) / RATE - CLIP_SECONDS, 0)
    starts = [int(RATE * spare * k / CLIPS) for k in range(CLIPS)]
    return np.stack([_spectrogram(_clip(samples, rate, start))[None] for start in starts])


def _length(count: int, rate: int) -> int:
    """Return the number of samples after resampling."""
    return -(-count * RATE // rate)


def _clip(
    samples: Float32[np.ndarray, " samples"], rate: int, start: int
) -> Float32[np.ndarray, " clip"]:
    stop = min(start + CLIP_SECONDS * RATE, _length(len(samples), rate))
    return samples[start:stop] if rate == RATE else resample(samples, rate, RATE, start, stop)


def _spectrogram(clip: Float32[np.ndarray, " clip"]) -> Float32[np.ndarray, "bins frames"]:
    mels = log_mel(clip, RATE).T[:, :FRAMES]
    padded = np.pad(mels, ((0, 0), (0, FRAMES - mels.shape[1])))
    return ((padded - MEAN) / DEVIATION).astype(np.float32)
