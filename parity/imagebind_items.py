"""Recordings, pictures and captions for comparing ImageBind with its owners' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from parity.recordings import CAPTIONS, Recording

Items = dict[str, dict[str, Path | str]]
"""Modality to items by name: paths, and captions."""

RECORDINGS = (
    Recording("half-a-second", 16000, 0.5),
    Recording("one-second-offset-then-silence", 16000, 1.0, gain=0, offset=0.3, silent_from=0.6),
    Recording("one-clip", 16000, 2.0),
    Recording("a-little-more-8k", 8000, 2.3, channels=2, offset=0.1),
    Recording("odd-35201", 16000, 35201, offset=-0.2),
    Recording("overlap-3.7s-22k-stereo", 22050, 3.7, channels=2, offset=0.15, silent_from=0.7),
    Recording("step-4s", 16000, 4.0, gain=0.02, offset=0.25),
    Recording("odd-74451-stereo", 16000, 74451, channels=2, silent_from=0.6),
    Recording("overlap-5.9s-48k-stereo", 48000, 5.9, channels=2, offset=0.3, silent_from=0.45),
    Recording("six-seconds-24-bit", 44100, 6.0, subtype="PCM_24"),
    Recording("ten-16k", 16000, 10.0),
    Recording("ten-48k-half-silent", 48000, 10.0, offset=0.2, silent_from=0.5),
    Recording("ten-44k-stereo-float", 44100, 10.0, channels=2, subtype="FLOAT", gain=2.0),
    Recording("odd-30s-11k", 11025, 333333),
    Recording("odd-568111", 16000, 568111),
    Recording("a-minute-44k-stereo", 44100, 2646193, channels=2),  # 960071 samples, in float32 less
)
PICTURES = {
    "landscape": (640, 427, "RGB"),
    "portrait": (201, 301, "RGB"),
    "enlarged": (97, 97, "L"),
    "a-pixel-wider": (225, 224, "RGBA"),
    "wide": (1001, 224, "P"),
    "tall": (226, 1003, "LA"),
}
"""Name to width, height and Pillow's mode."""

LONG = (
    *(f"{word} " * count for word, count in (("dog", 75), ("cat", 76), ("bird", 77))),
    "a caption that goes on and on, " * 40,
    "und noch eine: ünïcödé 犬 🐶! " * 30,
)
OTHERS = ("", "A Dog's   HOUSE!!", "&amp;lt; tag", "don't stop 123,456", "one <|endoftext|> and on")


def write_items(folder: Path) -> Items:
    """Write recordings and pictures, always the same; return all items."""
    paths = [recording.write(folder, seed) for seed, recording in enumerate(RECORDINGS)]
    captions = (*CAPTIONS, *OTHERS, *LONG)
    return {
        "audio": {path.stem: path for path in paths},
        "image": {name: _picture(folder / f"{name}.png", *PICTURES[name]) for name in PICTURES},
        "text": {f"{i} {caption[:24]}": caption for i, caption in enumerate(captions)},
    }


def _picture(path: Path, width: int, height: int, mode: str) -> Path:
    """Write coarse and fine noise."""
    rng = np.random.default_rng([width, height])
    coarse = rng.integers(0, 256, (height // 30 + 1, width // 30 + 1, 4), np.uint8)
    large = coarse.repeat(30, axis=0).repeat(30, axis=1)[:height, :width]
    pixels = large // 2 + rng.integers(0, 128, (height, width, 4), np.uint8)
    Image.fromarray(pixels).convert("RGB" if mode == "P" else mode).convert(mode).save(path)
    return path
