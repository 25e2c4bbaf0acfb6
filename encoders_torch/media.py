"""Reading media files: pictures as Pillow images, sound as mono samples at one rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32
from PIL import Image, ImageOps

from fb_jax.errors import FreeBindError


def read_image(path: Path, mode: str = "RGB") -> Image.Image:
    """Read a picture: the first frame, turned as its EXIF says.

    Args:
        path: Anything that Pillow reads.
        mode: Pillow's name of the colours, as ``RGB`` or ``L``.

    Raises:
        FreeBindError: It is unreadable or truncated, or too large to be a picture in good faith.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FreeBindError("a picture cannot be read", where=path, got=error) from error


def read_audio(path: Path, rate: int) -> Float32[np.ndarray, " samples"]:
    """Read a recording: the mean of its channels, resampled.

    Args:
        path: Anything that libsndfile reads.
        rate: Samples a second of what is returned.

    Returns:
        Samples, in -1 to 1 for integer formats.

    Raises:
        FreeBindError: It is unreadable, empty, or holds NaN or infinity.
    """
    try:
        samples, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise FreeBindError("a recording cannot be read", where=path, got=error) from error
    mono = samples.mean(axis=1)
    if not len(mono) or not np.isfinite(mono).all():
        got = "NaN or infinity" if len(mono) else "no samples"
        raise FreeBindError("a recording holds no sound", where=path, got=got)
    return mono if own_rate == rate else soxr.resample(mono, own_rate, rate)
