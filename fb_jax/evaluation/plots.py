"""Pictures: the losses of a training, and what some queries find."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fb_jax import files
from fb_jax.evaluation.queries import Changed

RIGHT = "#b7e4c7"
"""Colour of items that belong to a query."""


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, atomically."""
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # a letter that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        files.write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _own_steps(records: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return, for each projector, its own step numbers and losses.

    A projector begins after the last step of the one before it in its lane, which is always logged.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    begin: dict[str, int] = {}
    before = 0
    for record in records:
        for member, loss in record["losses"].items():
            step = record["step"] - begin.setdefault(member, before)
            curves.setdefault(member, []).append((step, loss))
        before = record["step"]
    return curves


def plot_losses(records: Iterable[Mapping[str, Any]], path: Path | str) -> None:
    """Draw the loss of every projector over its own steps.

    Args:
        records: Lines of ``metrics.jsonl``.
        path: The PNG file.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for member, points in sorted(_own_steps(records).items(), key=lambda curve: len(curve[0])):
        axes.plot(*np.transpose(points), label=member, linewidth=1.2)
    axes.set(
        title="Loss of each projector on its own pairs (Eq. 7, 8)",
        xlabel="steps of the projector (they are trained in turn, in four lanes)",
        ylabel="loss in nats, sum of the terms",
    )
    if axes.lines:
        axes.legend(title="trained on pairs from", fontsize="small")
    axes.grid(alpha=0.3)
    save_png(figure, Path(path))


def plot_queries(changed: Sequence[Changed], title: str, path: Path | str) -> None:
    """Draw what some queries find in the unified and in the fused space; right items are green.

    Args:
        changed: At least one query.
        title: Above the table.
        path: The PNG file.
    """
    pairs = [
        (query, i, before, after)
        for query in changed
        for i, (before, after) in enumerate(zip(query.before, query.after, strict=True))
    ]
    cells = [["" if i else _short(q.query), _short(b.text), _short(a.text)] for q, i, b, a in pairs]
    shade = lambda found: RIGHT if found.right else "white"  # noqa: E731
    colours = [["white", shade(before), shade(after)] for _, _, before, after in pairs]
    figure = Figure(figsize=(8.6, 0.205 * len(cells) + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.set_title(title, fontsize="medium")
    heads = ["query", "unified space", "fused space"]
    table = axes.table(cells, colours, colLabels=heads, loc="upper center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    save_png(figure, Path(path))


def _short(text: str, most: int = 40) -> str:
    text = " ".join(text.split()).replace("$", r"\$")  # one line, no mathematics
    return text if len(text) <= most else f"{text[: most - 3]}..."
