"""The classes, and what is said and written about scenes of them.

A scene is one class, or two in an order, as their names joined by ``SEPARATOR``: ``seven, star``.
A recording says the names, a picture shows the symbols from left to right, a caption puts the names
into a phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi"),
    "omega",
)
SHAPES = {
    "star": "★☆",
    "heart": "♥♡",
    "spade": "♠♤",
    "club": "♣♧",
    "diamond": "♦♢",
    "circle": "●○",
    "square": "■□",
    "triangle": "▲△",
    "sun": "☀☼",
    "moon": "☾☽",
    "note": "♪♫",
    "arrow": "→",
    "plus": "+",
    "percent": "%",
    "dollar": "$",
    "infinity": "∞",
    "root": "√",
    "umbrella": "☂",
    "telephone": "☎",
    "scissors": "✂",
    "anchor": "⚓",
    "flag": "⚑⚐",
    "knight": "♞♘",
}
GLYPHS: dict[str, str] = {
    **{name: str(digit) for digit, name in enumerate(DIGITS)},
    **dict(zip(GREEK, "αβγδεζηθικλμνξπρστυφχψω", strict=True)),
    **SHAPES,
}
"""Class to the characters that a picture of it may show."""

CLASSES = tuple(GLYPHS)
SEPARATOR = ", "

PICTURE_PHRASES = (
    "{c}",
    "a picture of {c}",
    "a drawing of {c}",
    "{c} on a dark ground",
    "this shows {c}",
)
"""Captions of pictures: what the image-text encoders are trained on."""

SOUND_PHRASES = (
    "{c}",
    "the sound of {c}",
    "a voice says {c}",
    "{c} is spoken",
    "someone says {c}",
)
"""Captions of recordings: what the audio-text encoders are trained on."""

SOUND_TEMPLATES = (
    "{c}",
    "the sound of {c}",
    "This is a sound of {c}.",
    "an audio of {c}",
    "a picture of a {c}",
)
"""Prompts for recordings: bare, one that was trained on, LAION-CLAP's, FreeBind's, a wrong one."""

PICTURE_TEMPLATES = (
    "{c}",
    "a picture of {c}",
    "a picture of a {c}",
    "a photo of a {c}.",
    "the sound of {c}",
)
"""Prompts for pictures: bare, one that was trained on, one letter more, CLIP's, a wrong one."""


def names(scene: str) -> list[str]:
    """Return the classes of a scene, in order."""
    return scene.split(SEPARATOR)


def caption(scene: str, phrase: str) -> str:
    """Return the caption of a scene in some phrase."""
    return phrase.format(c=" and ".join(names(scene)))


def couples() -> list[str]:
    """Return every scene of two different classes."""
    return [SEPARATOR.join(couple) for couple in permutations(CLASSES, 2)]


def labels(scenes: Sequence[str]) -> list[tuple[int, int]]:
    """Return (row of a scene, number of a class) for every class of every scene."""
    return [(row, CLASSES.index(name)) for row, scene in enumerate(scenes) for name in names(scene)]
