"""The default data of a run: the word world, whose banks come with the package."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parents[1] / "word_world"
"""Folder with ``banks/``, a fitting ``config.yaml`` and a README."""


def word_world() -> Path:
    """Return the bank root of the word world."""
    return HOME / "banks"


def config_file() -> Path:
    """Return the YAML file with the options for the word world."""
    return HOME / "config.yaml"


def is_default(data: Path) -> bool:
    """Return whether a path leads to the bank root of the word world."""
    return data.resolve() == word_world().resolve()
