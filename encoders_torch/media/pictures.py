"""Reads pictures, as Pillow images."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import AvifImagePlugin, Image, ImageOps, UnidentifiedImageError

from encoders_torch.explain import explained
from encoders_torch.media.frames import read_frame
from encoders_torch.media.heif import AVIF, HEIF, brand_of, open_heif
from encoders_torch.media.limits import MAX_PIXELS, limit, require_at_most
from encoders_torch.media.medium import Content, Media, as_media
from fb_jax.errors import FreeBindError


def read_image(
    item: Media | Path | str, mode: str = "RGB", max_pixels: int | None = None
) -> Image.Image:
    """Read a picture: the first frame, turned by its EXIF data only if the
    item's options say so.

    Transparency is dropped, so the colours underneath show, as in the encoders' own readers. 16
    bits are scaled to 8.

    Of a video it is the frame that the options choose.

    Args:
        item: A file that Pillow reads or, if their extras are installed, libheif or FFmpeg.
        mode: Pillow's name of the colours, such as ``RGB`` or ``L``.
        max_pixels: Limit; None takes ``FREEBIND_MAX_PIXELS``.

    Raises:
        FreeBindError: It is missing, unreadable, truncated or too large, or its values have no
            known range.
    """
    media, most = as_media(item), limit(MAX_PIXELS, max_pixels)
    image: Image.Image = media.once(("picture", mode, most), lambda: _decode(media, mode, most))
    return image.copy()


def _decode(media: Media, mode: str, most: int) -> Image.Image:
    with (
        media.open() as file,
        explained("a picture cannot be read", where=media),
        _at_most_pixels(most, media),
        _opened(file, media, most) as image,
    ):
        image.load()
        upright = _upright(image) if media.options.turn else image
        return _to_8_bits(upright, media).convert(mode)


def _opened(file: Content, media: Media, most: int) -> Image.Image:
    """Open a picture. What Pillow does not know is HEIF, or a video."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        refused = UnidentifiedImageError("Pillow does not know its format")
        brand = brand_of(file)
        if brand in HEIF:
            return open_heif(file, media, most)
        if brand in AVIF:  # FFmpeg would take a part of it for a video
            raise refused from None
        return read_frame(media, most, refused)


@contextmanager
def _at_most_pixels(most: int, media: Media) -> Iterator[None]:
    """Set Pillow's global limit: it also knows the pictures within icons.

    Pillow warns above the limit, and raises an error above twice the limit.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        with warnings.catch_warnings(action="ignore"):  # about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        pixels = re.findall(r"\d+", str(error))[0]
        require_at_most(MAX_PIXELS, most, int(pixels), media)
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data tell; data that cannot be read count as none."""
    with suppress(Exception):  # of nearly any kind
        return ImageOps.exif_transpose(image)
    return image


def _to_8_bits(image: Image.Image, media: Media) -> Image.Image:
    """Scale values that Pillow would clip to 255, and avoid its warning on transparent palettes."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise FreeBindError(
            "the range of a picture's values is unknown", where=media, expected="8 or 16 bits"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))  # as Pillow does with colours
