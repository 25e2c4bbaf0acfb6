"""Pictures of words: grey images of a word in some font, with jitter, blur and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fb_jax.errors import FreeBindError

HEIGHT, WIDTH = 24, 96
FONT_FOLDER = Path("/usr/share/fonts/truetype")
FAMILIES = {
    "dejavu": ("DejaVuSans.ttf", "DejaVuSansCondensed.ttf"),  # from -core and from -extra
    "freefont": ("FreeSans.ttf",),
    "liberation": ("LiberationSans-Regular.ttf",),
}
"""Font folder to a file from each Debian package that installs fonts there."""
NOT_LETTERS = ("DejaVuMathTeXGyre",)
SIZES = (13, 18)  # pixels, the end excluded


def find_fonts() -> list[Path]:
    """Return the font files of the Debian packages for the word world, sorted.

    Raises:
        FreeBindError: A family is missing.
    """
    fonts = []
    for family, wanted in FAMILIES.items():
        files = sorted((FONT_FOLDER / family).glob("*.ttf"))
        if not {path.name for path in files}.issuperset(wanted):
            raise FreeBindError(
                "fonts are missing",
                where=FONT_FOLDER / family,
                fix="apt install fonts-dejavu-core fonts-dejavu-extra fonts-liberation "
                "fonts-freefont-ttf",
            )
        fonts += [path for path in files if path.stem not in NOT_LETTERS]
    return fonts


def draw(word: str, fonts: list[Path], noise: float, rng: np.random.Generator) -> Image.Image:
    """Draw a word, light on dark.

    Args:
        word: Word to draw.
        fonts: Font files to choose from.
        noise: Standard deviation of the pixel noise, as a share of full scale.
        rng: Chooses font, size, position, brightness, blur and noise.

    Returns:
        A grey image of ``WIDTH`` x ``HEIGHT`` pixels.
    """
    path, size = fonts[rng.integers(len(fonts))], int(rng.integers(*SIZES))
    font = ImageFont.truetype(path, size)
    left, top, right, bottom = font.getbbox(word)
    while right - left > WIDTH - 2 and size > 6:
        size -= 1
        font = ImageFont.truetype(path, size)
        left, top, right, bottom = font.getbbox(word)
    x = 1 + rng.integers(0, 4) - left
    y = (HEIGHT - bottom + top) // 2 - top + rng.integers(-2, 3)
    dark, light = int(rng.integers(0, 80)), int(rng.integers(150, 256))
    image = Image.new("L", (WIDTH, HEIGHT), dark)
    ImageDraw.Draw(image).text((x, y), word, fill=light, font=font)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.0)))
    return add_noise(image, noise, rng)


def add_noise(image: Image.Image, noise: float, rng: np.random.Generator) -> Image.Image:
    """Return a grey image with pixel noise of a standard deviation, as a share of full scale."""
    grey = np.asarray(image, np.float32)
    pixels = grey + 255 * noise * rng.standard_normal(grey.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
