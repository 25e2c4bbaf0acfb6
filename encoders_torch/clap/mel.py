"""Log-mel spectrograms of LAION-CLAP, and the four that a fused model sees of long audio.

64 bands of 50 to 14000 Hz, windows of 1024 samples (Hann) every 480, power, in decibel. Models
with fusion were trained on torchaudio's filters (HTK's scale, peaks of one), those without on
librosa's (Slaney's scale and areas).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from encoders_torch.clap.audio import CLIP, RATE, Crop

WINDOW, HOP, BANDS = 1024, 480, 64
FRAMES = CLIP // HOP + 1
BLOCK = 8192
"""Frames transformed at a time, which bounds memory for hours of audio."""


def log_mel(samples: Float32[np.ndarray, " n"], fused: bool) -> Float32[Tensor, "frames bands"]:
    """Return the log-mel spectrogram, one frame for every 480 samples and one more.

    Args:
        samples: At 48 kHz, at least 513.
        fused: Which model's filters.
    """
    half = WINDOW // 2
    padded = functional.pad(torch.from_numpy(samples)[None], (half, half), mode="reflect")[0]
    frames = len(samples) // HOP + 1
    blocks = [
        _power(padded[first * HOP : (min(first + BLOCK, frames) - 1) * HOP + WINDOW])
        for first in range(0, frames, BLOCK)
    ]
    energy = torch.cat([block @ _filters(fused) for block in blocks])
    return 10 * energy.clamp(min=1e-10).log10()


def _power(samples: Float32[Tensor, " n"]) -> Float32[Tensor, "frames frequencies"]:
    window = torch.hann_window(WINDOW)
    found = torch.stft(samples, WINDOW, HOP, window=window, center=False, return_complex=True)
    return found.abs().square().T


@cache
def _filters(fused: bool) -> Float32[Tensor, "frequencies bands"]:
    norm, scale = (None, "htk") if fused else ("slaney", "slaney")
    filters = mel_filter_bank(WINDOW // 2 + 1, BANDS, 50, 14000, RATE, norm, scale)
    return torch.from_numpy(filters).float()


def four_views(
    mel: Float32[Tensor, "frames bands"], crop: Crop, seed: int
) -> Float32[Tensor, "4 clip_frames bands"]:
    """Return what a fused model sees of long audio: all of it shrunk, and a part of each third.

    laion_clap shrinks by torchvision's ``Resize``, which smoothed nothing when the models were
    trained and does since torchvision 0.17: this one does not.

    Args:
        mel: Of more than ten seconds.
        crop: ``seeded`` or ``centre``: which part of each third.
        seed: Of the draws, which are laion_clap's from NumPy's old generator.
    """
    shrunk = functional.interpolate(mel[None, None], (FRAMES, BANDS), mode="bilinear")[0, 0]
    generator = np.random.RandomState(seed)
    views = [shrunk]
    for third in np.array_split(np.arange(len(mel) - FRAMES + 1), 3):
        starts = third if len(third) else np.zeros(1, int)
        start = generator.choice(starts) if crop == "seeded" else starts[len(starts) // 2]
        views.append(mel[start : start + FRAMES])
    return torch.stack(views)
