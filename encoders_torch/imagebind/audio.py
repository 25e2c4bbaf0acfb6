"""Turns a recording into spectrograms of three clips of its first channel, at 16 kHz."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from encoders_torch.imagebind.mel import FRAME, log_mel
from encoders_torch.imagebind.resampling import length_at, resample
from encoders_torch.media import Media, read_channels
from fb_jax.errors import FreeBindError

RATE = 16000
CLIPS, CLIP_SECONDS, FRAMES = 3, 2, 204
MEAN, DEVIATION = -4.268, 9.138
"""Of log-mel values in AudioSet, from ImageBind's released code."""

SAMPLER = "the mean of 3 clips of 2 s at start, middle and end"
"""Which clips are heard, for manifests."""


def read_clips(path: Media | Path) -> Float32[np.ndarray, "clips 1 bins frames"]:
    """Read a recording, and prepare it; see ``clips``.

    Raises:
        FreeBindError: It is unreadable, holds no sound, or is shorter than a frame of 25 ms.
    """
    samples, rate = read_channels(path)
    if length_at(len(samples), rate, RATE) < FRAME:
        raise FreeBindError(
            "a recording is too short",
            where=path,
            expected=f"{1000 * FRAME // RATE} ms",
            got=f"{1000 * len(samples) / rate:.1f} ms",
        )
    return clips(samples, rate)


def clips(
    samples: Float32[np.ndarray, "samples channels"], rate: int
) -> Float32[np.ndarray, "clips 1 bins frames"]:
    """Return the spectrograms of three clips of two seconds, or of the whole recording if shorter.

    As in ImageBind's released code, the mean over a clip and all channels is subtracted from the
    recording itself. So where clips overlap, a later clip lacks the means of the earlier ones, and
    has a step where they end. Then the first channel is heard.
    """
    length = length_at(len(samples), rate, RATE)
    clip, end = samples[:0], 0
    spectrograms = []
    for start in clip_starts(length):
        stop = min(start + CLIP_SECONDS * RATE, length)
        shared = clip[len(clip) - max(end - start, 0) :]
        clip = np.concatenate([shared, resample(samples, rate, RATE, max(start, end), stop)])
        clip -= clip.mean()
        end = stop
        spectrograms.append(_spectrogram(clip[:, 0])[None])
    return np.stack(spectrograms)


def clip_starts(length: int) -> list[int]:
    """Return the first samples of the clips: at 0, 1/2 and 1 of what one clip leaves over.

    The fractions are exact, of a length in seconds that is a float, as in the commit of
    pytorchvideo that ImageBind's requirements name. Often the last clip thus ends a sample early.

    Args:
        length: Samples of the recording.
    """
    spare = Fraction(max(length / RATE - CLIP_SECONDS, 0))
    return [int(RATE * spare * k / (CLIPS - 1)) for k in range(CLIPS)]


def _spectrogram(clip: Float32[np.ndarray, " clip"]) -> Float32[np.ndarray, "bins frames"]:
    mels = log_mel(clip, RATE).T[:, :FRAMES]
    padded = np.pad(mels, ((0, 0), (0, FRAMES - mels.shape[1])))
    return ((padded - MEAN) / DEVIATION).astype(np.float32)
