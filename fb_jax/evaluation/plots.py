"""Pictures: the losses of a training, and retrieval over the factors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fb_jax import files
from fb_jax.evaluation.queries import Changed
from fb_jax.evaluation.sweep import Sweep
from fb_jax.fusion import Factors
from fb_jax.fusion.factors import CHOSEN

RIGHT = "#b7e4c7"
"""Colour of items that belong to a query."""


def _save(figure: Figure, path: Path) -> None:
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
    _save(figure, Path(path))


def plot_sweep(swept: Sweep, presets: Mapping[str, Factors], title: str, path: Path | str) -> None:
    """Draw the change of R@1 against the unified space over the first two factors (Figures 3-6).

    All panels share one colour scale.

    Args:
        swept: The surfaces.
        presets: Points to mark; ``chosen`` among them stands out, and other factors are its.
        title: Above the panels.
        path: The PNG file.
    """
    figure = Figure(figsize=(3.8 * len(swept.surfaces) + 1.2, 4.4), layout="constrained")
    at = presets.get(CHOSEN) or next(iter(presets.values()), dict.fromkeys(swept.modalities, 0.5))
    fixed = (f"{m} at {at[m]:g}" for m in swept.modalities[2:])
    figure.suptitle(", ".join([title, *fixed]))
    panels = figure.subplots(1, len(swept.surfaces), squeeze=False)[0]
    changes = {pair: swept.plane(pair, at) - swept.unified[pair] for pair in swept.surfaces}
    limit = max(*(np.abs(change).max() for change in changes.values()), 1e-6)
    for axes, (pair, change) in zip(panels, changes.items(), strict=True):
        colours = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "shading": "nearest"}
        image = axes.pcolormesh(swept.grid, swept.grid, change, **colours)
        for name, factors in presets.items():
            _mark(axes, swept, name, factors)
        names = [f"${chr(92)}{swept.symbol}$ {modality}" for modality in swept.modalities[:2]]
        heading = f"{pair}: unified {swept.unified[pair]:.1f} %"
        axes.set(title=heading, ylabel=names[0], xlabel=names[1], aspect="equal")
    figure.colorbar(image, ax=list(panels), label="change of R@1, points", shrink=0.8)
    _save(figure, Path(path))


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
    _save(figure, Path(path))


def _short(text: str, most: int = 40) -> str:
    text = " ".join(text.split()).replace("$", r"\$")  # one line, no mathematics
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _mark(axes: Axes, swept: Sweep, name: str, factors: Factors) -> None:
    first, second = swept.modalities[:2]
    at = (factors[second], factors[first])
    axes.plot(*at, "ko" if name == CHOSEN else "k*", markersize=9 if name == CHOSEN else 7)
    below = -15 if name == CHOSEN else 8
    axes.annotate(
        name, at, textcoords="offset points", xytext=(0, below), ha="center", fontsize="small"
    )
