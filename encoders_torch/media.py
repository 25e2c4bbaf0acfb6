"""Reads media files: pictures as Pillow images, recordings as samples."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32
from PIL import Image, ImageOps

from encoders_torch.explain import explained
from fb_jax import files
from fb_jax.errors import FreeBindError

MAX_PIXELS = "FREEBIND_MAX_PIXELS"
MAX_SAMPLES = "FREEBIND_MAX_SAMPLES"
LIMITS = {MAX_PIXELS: 178_956_970, MAX_SAMPLES: 500_000_000}
"""Most pixels of a picture (Pillow's limit), and samples of all channels of a recording (2 GB).

Larger files could take all memory. Environment variables of these names change the limits.
"""

SAMPLES_PER_BYTE = 10_000
"""No recording holds more: FLAC, of silence, stores about 6,000 in a byte."""

BLOCK = 1 << 16
"""Samples of each channel that are read at once where the length is unknown."""


def read_image(path: Path | str, mode: str = "RGB", max_pixels: int | None = None) -> Image.Image:
    """Read a picture: the first frame, in the orientation that its EXIF data give.

    Transparency is dropped, so the colours underneath show, as in the encoders' own readers. 16
    bits are scaled to 8.

    Args:
        path: A file that Pillow reads.
        mode: Pillow's name of the colours, such as ``RGB`` or ``L``.
        max_pixels: Limit; None takes ``FREEBIND_MAX_PIXELS``.

    Raises:
        FreeBindError: It is missing, unreadable, truncated or too large, or its values have no
            known range.
    """
    most = _limit(MAX_PIXELS, max_pixels)
    with (
        files.open_regular(path) as file,
        explained("a picture cannot be read", where=path),
        _at_most_pixels(most, path),
        Image.open(file) as image,
    ):
        image.load()
        return _to_8_bits(_upright(image), path).convert(mode)


@contextmanager
def _at_most_pixels(most: int, path: Path | str) -> Iterator[None]:
    """Set Pillow's global limit: it also knows the pictures within icons.

    Pillow warns above the limit, and raises an error above twice the limit.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        pixels = re.findall(r"\d+", str(error))[0]
        _require_at_most(MAX_PIXELS, most, int(pixels), path)
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data tell; data that cannot be read count as none."""
    with warnings.catch_warnings(action="ignore"), suppress(Exception):  # of nearly any kind
        return ImageOps.exif_transpose(image)
    return image


def _to_8_bits(image: Image.Image, path: Path | str) -> Image.Image:
    """Scale values that Pillow would clip to 255, and avoid its warning on transparent palettes."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise FreeBindError(
            "the range of a picture's values is unknown", where=path, expected="8 or 16 bits"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))  # as Pillow does with colours


def read_audio(path: Path | str, rate: int) -> Float32[np.ndarray, " samples"]:
    """Read a recording: the mean of its channels, resampled.

    Args:
        path: A file that libsndfile reads.
        rate: Samples a second of the result.

    Returns:
        Samples, from -1 to 1 for integer formats.

    Raises:
        FreeBindError: See ``read_channels``.
    """
    return resample(*read_mono(path), rate)


def read_mono(path: Path | str) -> tuple[Float32[np.ndarray, " samples"], int]:
    """Read the mean of a recording's channels; return it with its samples a second."""
    samples, rate = read_channels(path)
    return samples.mean(axis=1), rate


def resample(
    samples: Float32[np.ndarray, " n"], rate: int, to: int
) -> Float32[np.ndarray, " samples"]:
    """Return a recording at another rate."""
    return samples if rate == to else soxr.resample(samples, rate, to)


def read_channels(
    path: Path | str, max_samples: int | None = None
) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read a recording with all channels; of a truncated file, as much as libsndfile finds.

    A header that tells no length, or an impossible one, is not believed: see ``SAMPLES_PER_BYTE``.

    Args:
        path: A file that libsndfile reads.
        max_samples: Limit over all channels; None takes ``FREEBIND_MAX_SAMPLES``.

    Returns:
        Samples, from -1 to 1 for integer formats, and how many there are a second.

    Raises:
        FreeBindError: It is missing, unreadable, empty, too long, or holds NaN or infinity.
    """
    most = _limit(MAX_SAMPLES, max_samples)
    with files.open_regular(path) as opened, explained("a recording cannot be read", where=path):
        size = os.fstat(opened.fileno()).st_size
        with _Forwards(path) as file:
            samples, rate = _read_samples(file, size, most, path), file.samplerate
    if not len(samples) or not np.isfinite(samples).all():
        got = "NaN or infinity" if len(samples) else "no samples"
        raise FreeBindError("a recording holds no sound", where=path, got=got)
    return samples, rate


class _Forwards(soundfile.SoundFile):
    """A recording that is read from its start to its end: not all formats can seek."""

    def seekable(self) -> bool:
        return False


def _read_samples(
    file: _Forwards, size: int, most: int, path: Path | str
) -> Float32[np.ndarray, "samples channels"]:
    """Read all samples of a file of ``size`` bytes."""
    if (claimed := file.frames * file.channels) <= SAMPLES_PER_BYTE * size:
        _require_at_most(MAX_SAMPLES, most, claimed, path)
        return file.read(file.frames, "float32", always_2d=True)
    blocks, count = [np.zeros((0, file.channels), np.float32)], 0
    while len(block := file.read(BLOCK, "float32", always_2d=True)):
        blocks.append(block)
        count += block.size
        _require_at_most(MAX_SAMPLES, most, count, path)
    return np.concatenate(blocks)


def _limit(name: str, given: int | None) -> int:
    """Return a limit: the given one, or that of the environment."""
    text = os.environ.get(name, str(LIMITS[name]))
    if given is None and not text.isdecimal():
        raise FreeBindError(f"{name} is no whole number", got=repr(text))
    return int(text) if given is None else given


def _require_at_most(name: str, most: int, count: int, path: Path | str) -> None:
    if count > most:
        raise FreeBindError(
            "a file is too large to be read",
            where=path,
            expected=f"at most {most:,} ({name})",
            got=f"{count:,}",
            fix=f"if you do want to read it: export {name}={count}",
        )
