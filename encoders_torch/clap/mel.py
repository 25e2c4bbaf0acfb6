"""Log-mel spectrograms for LAION-CLAP, and the four views of long audio for a fused model.

64 bands from 50 to 14000 Hz, Hann windows of 1024 samples every 480, power in decibels. Models with
fusion were trained with torchaudio's filters (HTK scale, peaks of one), models without fusion with
librosa's (Slaney scale and areas).
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
"""Frames transformed together; limits memory for hours of audio."""


def log_mel(samples: Float32[np.ndarray, " n"], fused: bool) -> Float32[Tensor, "frames bands"]:
    """Return the log-mel spectrogram: a frame every 480 samples, and one more.

    Args:
        samples: At 48 kHz, at least 513.
        fused: Whether to take the filters of the model with fusion.
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
    spectrum = torch.stft(samples, WINDOW, HOP, window=window, center=False, return_complex=True)
    return spectrum.abs().square().T


@cache
def _filters(fused: bool) -> Float32[Tensor, "frequencies bands"]:
    norm, scale = (None, "htk") if fused else ("slaney", "slaney")
    filters = mel_filter_bank(WINDOW // 2 + 1, BANDS, 50, 14000, RATE, norm, scale)
    return torch.from_numpy(filters).float()


def four_views(
    mel: Float32[Tensor, "frames bands"], crop: Crop, seed: int, length: int = FRAMES
) -> Float32[Tensor, "4 length bands"]:
    """Return the views of long audio for a fused model: all of it shrunk, and a part of each third.

    laion_clap shrinks with torchvision's ``Resize``, which has smoothed since torchvision 0.17. It
    did not when the models were trained, so neither does this function.

    Args:
        mel: Spectrogram of more than a clip.
        crop: ``seeded`` or ``centre``: position of the part in each third.
        seed: For ``seeded``. Positions are drawn as laion_clap does, from NumPy's old generator.
        length: Frames of a clip.
    """
    size = (length, mel.shape[1])
    shrunk = functional.interpolate(mel[None, None], size, mode="bilinear")[0, 0]
    generator = np.random.RandomState(seed)
    views = [shrunk]
    for third in np.array_split(np.arange(len(mel) - length + 1), 3):
        starts = third if len(third) else np.zeros(1, int)
        start = generator.choice(starts) if crop == "seeded" else starts[len(starts) // 2]
        views.append(mel[start : start + length])
    return torch.stack(views)
