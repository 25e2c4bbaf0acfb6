"""Turns a picture into pixels, as CLIP's and ImageBind's preprocessing does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from encoders_torch.media import Media, read_image
from fb_jax.errors import FreeBindError

SIDE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Red, green, blue of CLIP's training pictures (Radford et al., 2021, their released code)."""

NARROWEST = 100
"""Pictures more than this many times as long as wide are refused: resized, they fill memory."""


def read_pixels(path: Media | Path) -> UInt8[np.ndarray, "3 side side"]:
    """Read a picture, and prepare it; see ``pixels``.

    Raises:
        FreeBindError: It is unreadable, too large, or too narrow.
    """
    image = read_image(path)
    if max(image.size) > NARROWEST * min(image.size):
        raise FreeBindError(
            "a picture is too narrow",
            where=path,
            expected=f"at most {NARROWEST} times as long as wide",
            got=" x ".join(map(str, image.size)),
        )
    return pixels(image)


def pixels(image: Image.Image) -> UInt8[np.ndarray, "3 side side"]:
    """Resize the short side of an RGB picture to 224, and take the middle square."""
    return np.ascontiguousarray(np.asarray(_middle(_resized(image))).transpose(2, 0, 1))


def normalised(pixels: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 3 h w"]:
    """Return pixels with CLIP's mean and deviation; on a CPU, bit for bit as upstream."""
    mean, deviation = (
        torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, DEVIATION)
    )
    return (pixels.float() / 255 - mean) / deviation


def _resized(image: Image.Image) -> Image.Image:
    short = min(image.size)
    width, height = (SIDE * side // short for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _middle(image: Image.Image) -> Image.Image:
    left, top = (round((side - SIDE) / 2) for side in image.size)
    return image.crop((left, top, left + SIDE, top + SIDE))
