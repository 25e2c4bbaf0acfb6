from collections.abc import Callable
from pathlib import Path

import pytest

from fb_jax.datasets import Choice
from tests.datasets.layouts import LAYOUTS

CHOICES = {"imagenet": Choice(templates=("a {c}", "the {c}"), class_names="list")}
"""What is asked for where the default needs open_clip."""


@pytest.fixture
def official(tmp_path) -> Callable[..., Path]:
    """Write a data set in its official layout; return its folder."""

    def official(name: str, folder: str = "official") -> Path:
        LAYOUTS[name](tmp_path / folder / name)
        return tmp_path / folder / name

    return official
