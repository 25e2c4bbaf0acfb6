"""A check for settings that have a range."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from fb_jax.errors import FreeBindError


def assert_range(
    kind: type, name: str, lowest: float, highest: float, outside: Sequence[Any]
) -> None:
    """Assert that a setting takes both ends of its range, refuses what is outside, and says so."""
    for inside in (lowest, highest):
        assert getattr(kind(**{name: inside}), name) == inside
    low, high = (f"{x:g}" if isinstance(x, float) else f"{x}" for x in (lowest, highest))
    says = rf"{name} is out of range\n.*number, {low} to {high}\n".replace("+", r"\+")
    for value in outside:
        with pytest.raises(FreeBindError, match=says + f".*{value!r}"):
            kind(**{name: value})
    text = " ".join((inspect.getdoc(kind) or "").split(f"{name}: ")[1].split(": ")[0].split())
    assert f"{low} to {high}" in text.replace("2^60", f"{2**60}")  # which is the text of --help
