"""Recordings for comparing encoders, one for every path through the code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy import ndarray


@dataclass(frozen=True)
class Recording:
    """A recording. An int ``length`` counts samples, a float seconds.

    ``offset`` is added to all samples. From the share ``silent_from`` on, all samples are zero.
    """

    name: str
    rate: int
    length: float | int
    channels: int = 1
    subtype: str = "PCM_16"
    gain: float = 0.3
    offset: float = 0.0
    silent_from: float = 1.0

    @property
    def samples(self) -> int:
        """Samples in each channel."""
        return self.length if isinstance(self.length, int) else round(self.length * self.rate)

    @property
    def long(self) -> bool:
        """Whether a fused model fuses it."""
        return self.samples / self.rate >= 10.01

    def write(self, folder: Path, seed: int) -> Path:
        """Write a WAV file: a chirp over noise, different in every channel."""
        path = folder / f"{self.name}.wav"
        rng = np.random.default_rng(seed)
        samples = np.stack([self._sound(rng) for _ in range(self.channels)], 1) + self.offset
        samples[round(self.silent_from * self.samples) :] = 0
        soundfile.write(path, samples, self.rate, subtype=self.subtype)
        return path

    def _sound(self, rng: np.random.Generator) -> ndarray:
        time = np.arange(self.samples) / self.rate
        low, rise, beat = rng.uniform((80, 10, 0.5), (3000, 300, 8))
        chirp = np.sin(2 * np.pi * (low + rise * time) * time) * np.sin(2 * np.pi * beat * time)
        noise = rng.normal(0, rng.uniform(0.01, 1), self.samples)
        return self.gain * rng.uniform(0.05, 1) * (chirp + noise)


RECORDINGS = (
    Recording("a-tick", 48000, 0.02),
    Recording("short-16k", 16000, 3.1),
    Recording("short-44k-stereo", 44100, 2.7, channels=2),
    Recording("short-48k-float-clipped", 48000, 4.2, subtype="FLOAT", gain=2.0),
    Recording("short-44k-odd-length", 44100, 100001),
    Recording("six-seconds-24-bit", 48000, 6.0, channels=2, subtype="PCM_24"),
    Recording("ten-16k", 16000, 10.0),
    Recording("ten-44k", 44100, 10.0),  # 480001 samples, as librosa counts
    Recording("ten-44k-stereo", 44100, 10.0, channels=2),
    Recording("ten-48k", 48000, 10.0),
    Recording("ten-48k-stereo", 48000, 10.0, channels=2),
    Recording("480001-samples", 48000, 480001),
    Recording("480479-samples", 48000, 480479),
    Recording("480480-samples", 48000, 480480),  # one frame more
    Recording("long-12s-16k", 16000, 12.0),
    Recording("long-23s-44k-stereo", 44100, 23.4, channels=2),
    Recording("long-61s-48k", 48000, 61.0),
)
CAPTIONS = (
    "a dog barks",
    "the dog barked in the bar",
    "Rain; thunder, then 3 bells!",
    "ünïcödé, 犬の声, \U0001f436",
    "word " * 200,
)
