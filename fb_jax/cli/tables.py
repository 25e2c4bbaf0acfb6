"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.markup import escape

from fb_jax.console import console
from fb_jax.evaluation import CAPTION, Results
from fb_jax.run.choosing import Chosen


def show_results(
    results: Mapping[str, Results], title: str, chosen: Chosen | None = None, kept: str = ""
) -> None:
    """Print a table for every set of pairs, the caption once, and what the last table says.

    Args:
        results: Set of pairs to results.
        title: What was evaluated.
        chosen: How its factors were chosen.
        kept: The row of the space itself (``own_row``), for a comparison with the mean of scores.
    """
    for name, result in results.items():
        console.print(replace(result, title=f"{name}: {title}").table())
    if results:
        print(CAPTION)
    if chosen is not None:
        console.print(escape(str(chosen)), highlight=False)
    for name, result in list(results.items())[-1:]:
        named = replace(result, title=name)
        for line in (*named.verdicts(), *filter(None, [named.gain(kept)])):
            console.print(escape(line), highlight=False)
