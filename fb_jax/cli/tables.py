"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fb_jax.console import console
from fb_jax.evaluation import CAPTION, Results


def show_results(results: Mapping[str, Results], title: str) -> None:
    """Print a table for every split, and the caption once."""
    for split, result in results.items():
        console.print(replace(result, title=f"{split}: {title}").table())
    if results:
        print(CAPTION)
