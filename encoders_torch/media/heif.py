"""Opens HEIF pictures, as phones write them, with libheif."""

from __future__ import annotations

from PIL import Image

from encoders_torch.media.limits import MAX_PIXELS, require_at_most
from encoders_torch.media.medium import Content, Media
from fb_jax.extras import import_extra

SUFFIXES = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})

HEIF = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
AVIF = frozenset({b"avif", b"avis"})
"""Brands of pictures that are stored like videos: ISO/IEC 23008-12, and AV1 Image File Format."""


def brand_of(file: Content) -> bytes | None:
    """Return what a file that is stored like a video says that it is; None for other files."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    return head[8:] if head[4:8] == b"ftyp" else None


def open_heif(file: Content, media: Media, most: int) -> Image.Image:
    """Open a picture. libheif turns it as the file says, since that is part of the format.

    Raises:
        FreeBindError: pillow-heif is not installed, or there are too many pixels.
    """
    heif = import_extra("pillow_heif", "heif", where=media)
    heif.options.DECODE_THREADS = 1
    image: Image.Image = heif.HeifImageFile(file)
    require_at_most(MAX_PIXELS, most, image.width * image.height, media)
    return image
