"""Pictures of scenes: symbols of random fonts, turned, in a row, with blur and noise."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from examples.class_world.classes import GLYPHS, names
from examples.word_world.pictures import add_noise

SIDE = 32  # pixels of a symbol's square
HEIGHT, WIDTH = SIDE, 2 * SIDE
SIZES = (19, 27)  # of a font, the end excluded
TURN = 12.0  # degrees, to both sides
SHIFT = 1  # pixels, to both sides


@cache
def characters(font: Path) -> frozenset[int]:
    """Return the code points that a font file has a glyph for."""
    return frozenset(FT2Font(str(font)).get_charmap())


def draw(scene: str, fonts: list[Path], noise: float, rng: np.random.Generator) -> Image.Image:
    """Draw a scene, light on dark.

    Args:
        scene: Names of one or two classes.
        fonts: Font files to choose from.
        noise: Standard deviation of the pixel noise, as a share of full scale.
        rng: Chooses characters, fonts, sizes, angles, places, brightness, blur and noise.

    Returns:
        A grey image of ``WIDTH`` x ``HEIGHT`` pixels.
    """
    shown = names(scene)
    dark, light = int(rng.integers(0, 80)), int(rng.integers(150, 256))
    image = Image.new("L", (WIDTH, HEIGHT), dark)
    for number, name in enumerate(shown):
        place = (number * SIDE, int(rng.integers(-SHIFT, SHIFT + 1)))
        image.paste(light, place, _symbol(name, fonts, rng))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.0)))
    return add_noise(image, noise, rng)


def _symbol(name: str, fonts: list[Path], rng: np.random.Generator) -> Image.Image:
    """Return a symbol as a mask of ``SIDE`` x ``SIDE`` pixels."""
    glyph = GLYPHS[name][rng.integers(len(GLYPHS[name]))]
    having = [font for font in fonts if ord(glyph) in characters(font)]
    font = ImageFont.truetype(having[rng.integers(len(having))], int(rng.integers(*SIZES)))
    mask = Image.new("L", (SIDE, SIDE))
    centre = SIDE // 2 + rng.integers(-SHIFT, SHIFT + 1)
    left, top, right, bottom = font.getbbox(glyph)
    corner = (centre - (left + right) / 2, SIDE / 2 - (top + bottom) / 2)
    ImageDraw.Draw(mask).text(corner, glyph, fill=255, font=font)
    return mask.rotate(rng.uniform(-TURN, TURN), Image.Resampling.BILINEAR)
