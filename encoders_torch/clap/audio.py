"""Prepares recordings for LAION-CLAP: 48 kHz, 16 bit, cut or filled to ten seconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from encoders_torch.media import Media, as_media, read_mono, resample

RATE = 48000
CLIP = 10 * RATE
"""Samples of a training clip."""

Crop = Literal["seeded", "centre", "windows"]
"""How audio longer than 10 s is cut: a part at a random position (seeded by the file), the part in
the middle, or all of it in windows, whose mean is taken. In the first two cases a fused model sees
a part of each third and the whole."""


def seed_of(item: Media | Path) -> int:
    """Return the seed for a recording. It depends on the bytes, not on the path."""
    return int(as_media(item).digest()[:8], 16)


def read_waveform(path: Media | Path) -> Float32[np.ndarray, " samples"]:
    """Read a recording as ``librosa.load(path, sr=48000)`` does, rounded to 16 bits.

    Raises:
        FreeBindError: It is unreadable, empty, or holds NaN or infinity.
    """
    mono, rate = read_mono(path)
    samples = resample(mono, rate, RATE)
    if _librosa_length(len(mono), rate) == len(samples) + 1:
        samples = _fit(samples, len(samples) + 1)
    return _sixteen_bits(samples)


def _librosa_length(samples: int, rate: int) -> int:
    """Return the length after librosa's resampling: it rounds up, and fills with silence.

    In floating point, exactly ten seconds at 44.1 kHz become 480001 samples: longer than a clip.
    """
    return math.ceil(samples * (RATE / rate))


def _fit(samples: Float32[np.ndarray, " n"], length: int) -> Float32[np.ndarray, " length"]:
    return np.pad(samples, (0, length - len(samples)))


def _sixteen_bits(samples: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Clip, and round towards zero, as LAION's training data were."""
    steps = (np.clip(samples, -1, 1) * np.float32(32767)).astype(np.int16)
    return steps.astype(np.float32) / np.float32(32767)


def fill(samples: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " clip"]:
    """Repeat a recording of up to ten seconds as often as it fits, and fill with silence."""
    return _fit(np.tile(samples, CLIP // len(samples)), CLIP)


def clips(
    samples: Float32[np.ndarray, " n"], crop: Crop, seed: int
) -> list[Float32[np.ndarray, " clip"]]:
    """Return the clips of a recording of more than ten seconds.

    Args:
        samples: The recording.
        crop: Which clips.
        seed: For ``seeded``. The clip is drawn as laion_clap does, from NumPy's old generator.
    """
    spare = len(samples) - CLIP
    if crop == "windows":
        starts = sorted({*range(0, spare, CLIP), spare})  # the last clip overlaps
    elif crop == "centre":
        starts = [spare // 2]
    else:
        starts = [np.random.RandomState(seed).randint(0, spare + 1)]
    return [samples[start : start + CLIP] for start in starts]
