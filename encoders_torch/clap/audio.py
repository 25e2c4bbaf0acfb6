"""Recordings as LAION-CLAP hears them: 48 kHz, 16 bit, ten seconds, and what is cut from more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from encoders_torch.media import read_mono, resample
from fb_jax.banks import files

RATE = 48000
CLIP = 10 * RATE
"""Samples that the models were trained on."""

Crop = Literal["seeded", "centre", "windows"]
"""What stands for audio longer than 10 s: a part drawn by the file's seed, the part in the middle,
or the mean over all of it, cut into parts. A fused model sees a part from each third, and the
whole, in the first two cases."""


def seed_of(path: Path) -> int:
    """Return the seed for a recording: of its bytes, so that neither place nor name counts."""
    return int(files.sha256_of(path)[:8], 16)


def read_waveform(path: Path) -> Float32[np.ndarray, " samples"]:
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
    """Return what librosa makes of a length: rounded up, in floating point; then comes silence.

    So exactly ten seconds at 44.1 kHz are 480001 samples, and long.
    """
    return math.ceil(samples * (RATE / rate))


def _fit(samples: Float32[np.ndarray, " n"], length: int) -> Float32[np.ndarray, " length"]:
    return np.pad(samples, (0, length - len(samples)))


def _sixteen_bits(samples: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Round as LAION's training data were: clipped, and towards zero."""
    steps = (np.clip(samples, -1, 1) * np.float32(32767)).astype(np.int16)
    return steps.astype(np.float32) / np.float32(32767)


def fill(samples: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " clip"]:
    """Repeat a recording of up to ten seconds as often as it fits whole; then silence."""
    return _fit(np.tile(samples, CLIP // len(samples)), CLIP)


def parts(
    samples: Float32[np.ndarray, " n"], crop: Crop, seed: int
) -> list[Float32[np.ndarray, " clip"]]:
    """Cut a recording of more than ten seconds into what is encoded of it.

    Args:
        samples: Of the recording.
        crop: Which part or parts.
        seed: Of the part for ``seeded``; the draw is laion_clap's from NumPy's old generator.
    """
    spare = len(samples) - CLIP
    if crop == "windows":
        starts = sorted({*range(0, spare, CLIP), spare})  # the last one overlaps
    elif crop == "centre":
        starts = [spare // 2]
    else:
        starts = [np.random.RandomState(seed).randint(0, spare + 1)]
    return [samples[start : start + CLIP] for start in starts]
