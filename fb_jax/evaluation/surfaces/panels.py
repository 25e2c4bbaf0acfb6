"""The panels of a picture of surfaces, drawn flat (``heat_maps``) or as a page (``pages``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fb_jax.evaluation.surfaces.choosing import ROUNDING, middle
from fb_jax.evaluation.surfaces.sweep import Sweep
from fb_jax.fusion import Factors
from fb_jax.fusion.factors import CHOSEN

COLOUR_MAP, MOST_IN_A_ROW = "RdBu", 3
COLOURS = ("#000000", "#1b9e3c", "#e67e00", "#8e44ad", "#8c564b", "#d6409f", "#5f6b7a")
"""Of the sources, in their order; none is a colour of the surfaces."""


@dataclass(frozen=True)
class Panel:
    """One surface over the first two factors.

    Attributes:
        task: Name of the task, with the metric if it is another one than R@1.
        values: ``[g, h]`` scores in percent, the first factor down the rows.
        unified: Score of the unified space.
        levels: Source to its score.
        best: Place of the best score, of equal ones in their middle.
    """

    task: str
    values: Float[np.ndarray, "g h"]
    unified: float
    levels: Mapping[str, float]
    best: tuple[int, ...]

    @property
    def change(self) -> Float[np.ndarray, "g h"]:
        """Return the change against the unified space, in points."""
        return self.values - self.unified


def panels_of(
    swept: Sweep, sources: Mapping[str, Mapping[str, float]], points: Mapping[str, Factors]
) -> list[Panel]:
    """Return the panels of a sweep.

    Args:
        swept: The surfaces.
        sources: Task to source to score; see ``levels_of``. A task without sources has its
            unified space.
        points: Names to factors; the other factors are those of ``point_of``.
    """
    at, found = point_of(swept, points), []
    for task in swept.surfaces:
        values, unified = swept.plane(task, at), swept.unified[task]
        best = middle(values >= values.max() - ROUNDING)
        levels = sources.get(task) or {swept.before: unified}
        found.append(Panel(f"{task}, {swept.metric(task)}", values, unified, levels, best))
    return found


def point_of(swept: Sweep, points: Mapping[str, Factors]) -> Factors:
    """Return the chosen factors; else the first preset, or the middle of the grid."""
    middle_of_all = dict.fromkeys(swept.modalities, 0.5)
    return points.get(CHOSEN) or next(iter(points.values()), middle_of_all)


def heading(swept: Sweep, title: str, points: Mapping[str, Factors]) -> str:
    """Return a title, with the factors of the modalities that no axis shows."""
    at = point_of(swept, points)
    return ", ".join([title, *(f"{m} at {at[m]:g}" for m in swept.modalities[2:])])


def places_for(panels: list[Panel]) -> tuple[int, int]:
    """Return the number of rows and columns for some panels."""
    columns = min(len(panels), MOST_IN_A_ROW)
    return -(-len(panels) // columns), columns


def largest_change(panels: list[Panel]) -> float:
    """Return the end of the one colour scale, in points; more than 0."""
    return max(1e-6, *(float(np.abs(panel.change).max()) for panel in panels))


def colours_of(panels: list[Panel]) -> dict[str, str]:
    """Return source to colour, the same in all panels."""
    sources = dict.fromkeys(source for panel in panels for source in panel.levels)
    return {source: COLOURS[i % len(COLOURS)] for i, source in enumerate(sources)}
