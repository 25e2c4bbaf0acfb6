"""Surfaces as an interactive page: three dimensions, sources as planes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from fb_jax import files
from fb_jax.evaluation.surfaces.heat_maps import plot_sweep
from fb_jax.evaluation.surfaces.panels import (
    COLOUR_MAP,
    Panel,
    colours_of,
    heading,
    largest_change,
    panels_of,
    places_for,
)
from fb_jax.evaluation.surfaces.sweep import Sweep
from fb_jax.extras import import_extra
from fb_jax.fusion import Factors

OPACITY = 0.35
"""Of the planes of sources."""


def write_surfaces(
    swept: Sweep,
    sources: Mapping[str, Mapping[str, float]],
    points: Mapping[str, Factors],
    title: str,
    folder: Path,
    name: str = "surfaces",
) -> list[Path]:
    """Write surfaces over the first two factors as a picture and as an interactive page.

    Both show the change against the unified space, in one colour scale for all panels, the best
    point, and the scores of sources: as lines in the picture, as planes on the page. The page needs
    no network.

    Args:
        swept: The surfaces: of ``sweep``, ``sweep_sets`` or ``mean_by_kind``.
        sources: Task to source to score in percent: of ``levels_of`` or ``mean_levels``; may be
            empty.
        points: Name of a preset to its factors; ``chosen`` stands out. Modalities beyond the first
            two stay at the factors of ``chosen``, else of the first preset, else at 0.5.
        title: Above the panels.
        folder: Where to write; it is made if it is missing.
        name: Stem of the names of both files.

    Returns:
        ``NAME.png`` and ``NAME.html``.

    Raises:
        FreeBindError: plotly is not installed, or the folder cannot be written to.
    """
    page = surfaces_figure(swept, sources, points, title)
    html = page.to_html(include_plotlyjs=True, div_id=name, config={"responsive": True})
    paths = [folder / f"{name}.png", folder / f"{name}.html"]
    plot_sweep(swept, points, title, paths[0], sources)
    files.write_atomic(paths[1], lambda file: file.write(html.encode()))
    return paths


def surfaces_figure(
    swept: Sweep,
    sources: Mapping[str, Mapping[str, float]],
    points: Mapping[str, Factors],
    title: str,
) -> Any:
    """Return a plotly figure of surfaces; arguments see ``write_surfaces``.

    Raises:
        FreeBindError: plotly is not installed.
    """
    go = import_extra("plotly.graph_objects", "plots", "an interactive page of surfaces")
    subplots = import_extra("plotly.subplots", "plots")
    panels = panels_of(swept, sources, points)
    rows, columns = places_for(panels)
    cells = [{"type": "scene"}] * len(panels) + [None] * (rows * columns - len(panels))
    figure = subplots.make_subplots(
        rows=rows,
        cols=columns,
        specs=[cells[row * columns : (row + 1) * columns] for row in range(rows)],
        subplot_titles=[panel.task for panel in panels],
        horizontal_spacing=0.02,
        vertical_spacing=0.08,
    )
    colours, shown = colours_of(panels), set[str]()
    for i, panel in enumerate(panels):
        planes = [_plane(go, swept, panel, s, colours[s], s not in shown) for s in panel.levels]
        shown |= panel.levels.keys()
        marks = _marks(go, swept, panel, points)
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for trace in (_surface(go, swept, panel), *planes, marks):
            figure.add_trace(trace, **place)
    _lay_out(figure, swept, panels, heading(swept, title, points), rows)
    return figure


def _surface(go: Any, swept: Sweep, panel: Panel) -> Any:
    # Not customdata: plotly reads that of a surface with rows and columns exchanged.
    first, second = swept.axes
    texts = [
        [
            f"<b>{panel.task}</b><br>{swept.symbol} {first} {down:g}, {second} {across:g}<br>"
            f"{value:.1f} %, {value - panel.unified:+.1f} points"
            for across, value in zip(swept.grid, values, strict=True)
        ]
        for down, values in zip(swept.grid, panel.values.tolist(), strict=True)
    ]
    return go.Surface(
        x=list(swept.grid),
        y=list(swept.grid),
        z=panel.change.tolist(),
        coloraxis="coloraxis",
        text=np.array(texts),  # plotly would turn rows of a list into text
        hoverinfo="text",
    )


def _plane(go: Any, swept: Sweep, panel: Panel, source: str, colour: str, first: bool) -> Any:
    """Return the plane of a source; its entry in the legend hides it in all panels."""
    level, ends = panel.levels[source], [min(swept.grid), max(swept.grid)]
    return go.Surface(
        x=ends,
        y=ends,
        z=[[level - panel.unified] * 2] * 2,
        colorscale=[[0, colour], [1, colour]],
        showscale=False,
        opacity=OPACITY,
        name=source,
        legendgroup=source,
        showlegend=first,
        hovertemplate=f"{source}: {level:.1f} %, %{{z:+.1f}} points<extra></extra>",
    )


def _marks(go: Any, swept: Sweep, panel: Panel, points: Mapping[str, Factors]) -> Any:
    """Return the best point, and the presets at the nearest factors of the grid."""
    nearest = lambda factor: int(np.abs(np.subtract(swept.grid, factor)).argmin())  # noqa: E731
    places = {f"best {panel.values[panel.best]:.1f}": panel.best} | {
        name: tuple(nearest(factors.get(m, 0.5)) for m in swept.axes)
        for name, factors in points.items()
    }
    down, across = np.transpose(list(places.values()))
    return go.Scatter3d(
        x=[swept.grid[i] for i in across],
        y=[swept.grid[i] for i in down],
        z=panel.change[down, across].tolist(),
        text=list(places),
        mode="markers+text",
        marker={"size": 4, "color": ["gold", *["black"] * len(points)], "line": {"width": 1}},
        showlegend=False,
        hovertemplate="%{text}: %{y:.2f}, %{x:.2f}, %{z:+.1f} points<extra></extra>",
    )


def _lay_out(figure: Any, swept: Sweep, panels: list[Panel], title: str, rows: int) -> None:
    limit = largest_change(panels)
    planes = [value - panel.unified for panel in panels for value in panel.levels.values()]
    low, high = min(-limit, *planes), max(limit, *planes)
    first, second = (f"{swept.symbol} {m}" for m in swept.axes)
    ends = [min(swept.grid), max(swept.grid)]
    figure.update_scenes(
        xaxis={"title": second, "range": ends},
        yaxis={"title": first, "range": ends},
        zaxis={"title": "points", "range": [1.05 * low, 1.05 * high]},
        aspectmode="cube",
    )
    scale = [[i / 10, to_hex(colormaps[COLOUR_MAP](i / 10))] for i in range(11)]
    bar = {"title": f"change against<br>{swept.before},<br>points"}
    figure.update_layout(
        title=title,
        coloraxis={"colorscale": scale, "cmin": -limit, "cmax": limit, "colorbar": bar},
        legend={"orientation": "h", "title": "planes of sources", "yanchor": "top", "y": 0},
        height=520 * rows + 140,
        margin={"l": 10, "r": 10, "t": 90, "b": 40},
    )
