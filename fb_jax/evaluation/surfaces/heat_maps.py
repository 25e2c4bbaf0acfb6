"""Surfaces as a picture: heat maps over two factors, with lines where sources are reached."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fb_jax.evaluation.plots import save_png
from fb_jax.evaluation.surfaces.panels import (
    COLOUR_MAP,
    Panel,
    colours_of,
    heading,
    largest_change,
    panels_of,
    places_for,
)
from fb_jax.evaluation.surfaces.sweep import NO_FACTOR, Sweep
from fb_jax.fusion import Factors
from fb_jax.fusion.factors import CHOSEN

HALO: list[patheffects.AbstractPathEffect] = [
    patheffects.withStroke(linewidth=2.5, foreground="white")
]


def plot_sweep(
    swept: Sweep,
    presets: Mapping[str, Factors],
    title: str,
    path: Path | str,
    sources: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Draw the change against the unified space over the first two factors (Figures 3-6).

    All panels share one colour scale. The best point is marked; a line goes where the score is that
    of a source.

    Args:
        swept: The surfaces.
        presets: Points to mark; ``chosen`` among them stands out, and other factors are its.
        title: Above the panels.
        path: The PNG file.
        sources: Task to source to score, see ``levels_of``; None for the unified space alone.
    """
    panels = panels_of(swept, sources or {}, presets)
    rows, columns = places_for(panels)
    figure = Figure(figsize=(3.8 * columns + 1.2, 4.1 * rows + 1.1), layout="constrained")
    figure.suptitle(heading(swept, title, presets))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[len(panels) :]:
        unused.axis("off")
    limit, colours = largest_change(panels), colours_of(panels)
    for own, panel in zip(axes, panels, strict=False):
        image = _draw(own, swept, panel, limit)
        _draw_levels(own, swept, panel, colours)
        _mark_best(own, swept, panel)
        for name, factors in presets.items():
            _mark(own, swept, name, factors)
    label = f"change against {swept.before}, points"
    figure.colorbar(image, ax=list(axes), label=label, shrink=0.8)
    lines = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, title="as good as")
    save_png(figure, Path(path))


def _draw(axes: Axes, swept: Sweep, panel: Panel, limit: float) -> Any:
    grid, scale = swept.grid, Normalize(-limit, limit)
    symbol = f"${chr(92)}{swept.symbol}$ "
    names = [m if m == NO_FACTOR else symbol + m for m in swept.axes]
    axes.set_title(panel.task, fontsize="medium", fontweight="bold", pad=24)
    levels = fill(_levels_in_words(panel), 60)
    axes.text(0.5, 1.02, levels, transform=axes.transAxes, ha="center", fontsize=7)
    axes.set(ylabel=names[0], xlabel=names[1], aspect="equal")
    change = panel.change
    return axes.pcolormesh(grid, grid, change, shading="nearest", cmap=COLOUR_MAP, norm=scale)


def _levels_in_words(panel: Panel) -> str:
    reached = panel.values.max()
    return ", ".join(
        f"{source} {level:.1f}" + " (not reached)" * bool(level > reached)
        for source, level in panel.levels.items()
    )


def _draw_levels(axes: Axes, swept: Sweep, panel: Panel, colours: Mapping[str, str]) -> None:
    """Draw a line where the score is that of a source, if any factors reach it."""
    for source, level in panel.levels.items():
        if panel.values.min() < level < panel.values.max():
            grid, colour = swept.grid, colours[source]
            axes.contour(grid, grid, panel.values, [level], colors=colour, linewidths=1.4)


def _mark_best(axes: Axes, swept: Sweep, panel: Panel) -> None:
    down, across = (swept.grid[i] for i in panel.best)
    axes.plot(across, down, "D", markersize=8, markerfacecolor="gold", markeredgecolor="black")
    _label(axes, f"best {panel.values[panel.best]:.1f}", across, down, 9)


def _mark(axes: Axes, swept: Sweep, name: str, factors: Factors) -> None:
    down, across = (factors.get(modality, 0.5) for modality in swept.axes)
    axes.plot(across, down, "ko" if name == CHOSEN else "k*", markersize=9 if name == CHOSEN else 7)
    _label(axes, name, across, down, -15 if name == CHOSEN else 8)


def _label(axes: Axes, text: str, across: float, down: float, above: int) -> None:
    """Write a text near a point, inside the panel."""
    side = "left" if across < 0.15 else "right" if across > 0.85 else "center"
    note = axes.annotate(
        text, (across, down), (0, above), textcoords="offset points", ha=side, fontsize="small"
    )
    note.set_path_effects(HALO)
