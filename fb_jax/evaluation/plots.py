"""Pictures: how training went, and what the factors do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fb_jax.banks import files
from fb_jax.evaluation.sweep import Sweep
from fb_jax.fusion import Factors


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    files.write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))


def plot_losses(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss of every member of a mixture over the steps of the training.

    Args:
        records: Lines of ``metrics.jsonl``.
        path: Of the PNG.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for member, loss in record["losses"].items():
            curves.setdefault(member, []).append((record["step"], loss))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for member, points in sorted(curves.items(), key=lambda curve: len(curve[0])):
        axes.plot(*np.transpose(points), label=member, linewidth=1.2)
    axes.set(
        title="InfoNCE of each member on its own pairs (Eq. 7, 8: sum of the terms)",
        xlabel="step (members that share a lane run one behind the other)",
        ylabel="loss in nats",
    )
    axes.legend(title="trained on pairs from", fontsize="small")
    axes.grid(alpha=0.3)
    _save(figure, path)


def plot_sweep(swept: Sweep, presets: Mapping[str, Factors], title: str, path: Path) -> None:
    """Draw the change of R@1 against the unified space over both factors (Figures 3-6).

    Args:
        swept: The surfaces.
        presets: Points to mark.
        title: Above the panels.
        path: Of the PNG.
    """
    first, second = swept.modalities
    figure = Figure(figsize=(4.4 * len(swept.surfaces), 4.2), layout="constrained")
    figure.suptitle(
        ", ".join([title, *(f"{m} at {factor:g}" for m, factor in swept.fixed.items())])
    )
    panels = figure.subplots(1, len(swept.surfaces), squeeze=False)[0]
    for axes, (pair, surface) in zip(panels, swept.surfaces.items(), strict=True):
        change = surface - swept.unified[pair]
        limit = max(np.abs(change).max(), 1e-6)
        image = axes.pcolormesh(
            swept.grid, swept.grid, change, cmap="RdBu", vmin=-limit, vmax=limit, shading="nearest"
        )
        for name, factors in presets.items():
            axes.plot(factors[second], factors[first], "k*", markersize=9)
            axes.annotate(
                name,
                (factors[second], factors[first]),
                textcoords="offset points",
                xytext=(0, 8),
                ha="center",
                fontsize="small",
            )
        axes.set(
            title=f"{pair}: unified {swept.unified[pair]:.1f} %",
            xlabel=f"weight of the expert, {second}",
            ylabel=f"weight of the expert, {first}",
            aspect="equal",
        )
        figure.colorbar(image, ax=axes, label="change of R@1, points", shrink=0.8)
    _save(figure, path)
