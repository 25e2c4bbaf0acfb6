"""What a run without ``--data`` trains on: the word world, whose banks come with the package."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parents[1] / "word_world"
"""Holds ``banks/``, ``config.yaml`` with options that fit them, and a README."""


def word_world() -> Path:
    """Return the bank root of the word world."""
    return HOME / "banks"


def config_file() -> Path:
    """Return the YAML file with the options that fit it."""
    return HOME / "config.yaml"


def is_default(data: Path) -> bool:
    """Tell whether a bank root is that of the word world, by whatever path."""
    return data.resolve() == word_world().resolve()
