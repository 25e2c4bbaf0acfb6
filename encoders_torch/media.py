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
        FreeBindError: It is unreadable or truncated, too large to be a picture in good faith, or
            its brightness has no known range.
    """
    try:
        with Image.open(path) as image:
            return _eight_bits(ImageOps.exif_transpose(image)).convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FreeBindError("a picture cannot be read", where=path, got=error) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of 16 bits a sample as one of 8, where Pillow would cut off at 255."""
    if image.mode in {"I", "F"}:
        raise ValueError("samples of 32 bits, of no known range")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


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
    samples, own_rate = read_channels(path)
    mono = samples.mean(axis=1)
    return mono if own_rate == rate else soxr.resample(mono, own_rate, rate)


def read_channels(path: Path) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read a recording as it is.

    Args:
        path: Anything that libsndfile reads.

    Returns:
        Samples, in -1 to 1 for integer formats, and how many there are a second.

    Raises:
        FreeBindError: It is unreadable, empty, or holds NaN or infinity.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise FreeBindError("a recording cannot be read", where=path, got=error) from error
    if not len(samples) or not np.isfinite(samples).all():
        got = "NaN or infinity" if len(samples) else "no samples"
        raise FreeBindError("a recording holds no sound", where=path, got=got)
    return samples, rate
