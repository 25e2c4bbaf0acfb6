"""Sweeps over the factors: every task against the weights of the expert (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.evaluation.classes import CLASS, TEXT, prompt_table
from fb_jax.evaluation.metrics import MAP
from fb_jax.evaluation.models import tables_for, unified_rows
from fb_jax.evaluation.surfaces.bilinear import Mixture, norms_of, recall_surface
from fb_jax.evaluation.surfaces.class_surfaces import (
    accuracy_surface,
    class_mixtures,
    precision_surface,
)
from fb_jax.evaluation.surfaces.headline import R1, headline, metric_of
from fb_jax.fusion import Factors, FusedSpace, Parts, parts_of

MOST_POINTS = 1 << 22
"""Maximum number of combinations of factors that are compared."""


NO_FACTOR = "(no other factor)"
"""The second axis of the plane of a space with one factor."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """The score of every task over a grid of factors.

    A task is a pair of modalities (``audio-text``), or media and their classes (``audio-class``),
    whose factor is that of the texts that name them. Tasks of several splits have the name of the
    split in front (``audiocaps audio-text``).

    Attributes:
        modalities: Modalities with a factor.
        grid: Values that each factor takes.
        surfaces: Task to score in percent, ``[g, h]``: the factor of its first modality down the
            rows. A modality without a factor has one row or column.
        unified: Task to the score of the unified space, native or an earlier stage.
        symbol: The paper's name of a factor: lambda after a displacement, else sigma.
        metrics: Task to what its score is: R@1 (also where it is missing), top-1 or mAP.
        before: Name of the unified space: of a native one, or of the product of the stages before.
    """

    modalities: tuple[str, ...]
    grid: Sequence[float]
    surfaces: dict[str, Float[np.ndarray, "_ _"]]
    unified: dict[str, float]
    symbol: str = "sigma"
    metrics: dict[str, str] = field(default_factory=dict)
    before: str = "unified"

    def metric(self, task: str) -> str:
        """Return what the score of a task is."""
        return self.metrics.get(task, R1)

    def over_factors(self, task: str) -> Float[np.ndarray, ...]:
        """Return the score of a task with one axis for every modality that has a factor.

        The axis of a modality that is not in the task has length 1.
        """
        owners = [m for m in owners_of(task) if m in self.modalities]
        surface = self.surfaces[task].reshape([len(self.grid)] * len(owners))
        order = sorted(range(len(owners)), key=lambda i: self.modalities.index(owners[i]))
        shape = [len(self.grid) if m in owners else 1 for m in self.modalities]
        return surface.transpose(order).reshape(shape)

    def plane(self, task: str, at: Factors) -> Float[np.ndarray, "g h"]:
        """Return the score of a task over the first two factors, the first one down the rows.

        With one factor, all columns are alike.

        Args:
            task: Name of a surface.
            at: The other factors; the nearest of the grid is taken.
        """
        swept = np.broadcast_to(self.over_factors(task), [len(self.grid)] * len(self.modalities))
        for modality in reversed(self.modalities[2:]):
            nearest = np.abs(np.subtract(self.grid, at[modality])).argmin()
            swept = swept[..., int(nearest)]
        return swept if swept.ndim == 2 else np.tile(swept[:, None], len(self.grid))

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the factors of a plane; ``NO_FACTOR`` if there is only one."""
        first, second = (*self.modalities[:2], NO_FACTOR)[:2]
        return first, second

    def to_dict(self) -> dict[str, Any]:
        """Return the surfaces as JSON types."""
        surfaces = {task: surface.tolist() for task, surface in self.surfaces.items()}
        own = {part.name: getattr(self, part.name) for part in fields(self)}
        modalities, grid = list(self.modalities), list(self.grid)
        return own | {"modalities": modalities, "surfaces": surfaces, "grid": grid}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.modalities, tuple(self.grid), self.symbol))

    def __str__(self) -> str:
        metrics = dict.fromkeys(map(self.metric, self.surfaces))
        return (
            f"{', '.join(metrics)} of {', '.join(self.surfaces)} at {len(self.grid)} values of "
            f"{self.symbol} of {', '.join(self.modalities)}"
        )


def pair_of(task: str) -> tuple[str, str]:
    """Return the two modalities of a task, without the name of its split."""
    left, right = task.rsplit(" ", 1)[-1].split("-")
    return left, right


def owners_of(task: str) -> tuple[str, str]:
    """Return the modalities whose factors a task depends on: of classes, those of their prompts."""
    left, right = pair_of(task)
    return left, TEXT if right == CLASS else right


def sweep(
    space: FusedSpace,
    banks: BankSet,
    grid: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate every task of a split at every pair of factors.

    Args:
        space: The fused space.
        banks: Its native spaces over a split with pairs or labels. Choose factors on validation.
        grid: Values of a factor, 0 to 1; None: see ``grid_for``.
        progress: Called with the number of tasks just done.

    Returns:
        The surfaces; the unified space has 0 where it lacks a modality.

    Raises:
        FreeBindError: The banks have no pairs of modalities that can be fused.
    """
    grid = grid_for(len(space.weighted)) if grid is None else grid
    mixtures = {m: mixture_of(space, m, part, grid) for m, part in parts_of(space, banks).items()}
    surfaces, unified, metrics = {}, {}, {}
    before = unified_rows(space, banks)
    for pair, table in tables_for(space, banks).items():
        task = "-".join(pair)
        if not {*owners_of(task)} <= mixtures.keys():
            continue
        metrics[task] = metric_of(pair, table, banks)
        surfaces[task] = _surface(mixtures, pair, table, banks, metrics[task])
        known = {*pair} <= before.keys()  # experts may bring modalities
        unified[task] = headline(before, pair, table, banks) if known else 0.0
        progress(1)
    symbol = "lambda" if space.last.bonds[0].kind == "displacement" else "sigma"
    name = space.base.title if space.base else space.unified
    return Sweep(space.weighted, grid, surfaces, unified, symbol, metrics, name)


def _surface(
    mixtures: Mapping[str, Mixture],
    pair: tuple[str, str],
    table: Integer[np.ndarray, "p 2"],
    banks: BankSet,
    metric: str,
) -> Float[np.ndarray, "g h"]:
    left, right = pair
    if right != CLASS:
        return recall_surface(mixtures[left], mixtures[right], table)
    classes = class_mixtures(mixtures[TEXT], prompt_table(banks))
    surface = precision_surface if metric == MAP else accuracy_surface
    return surface(mixtures[left], classes, table)


def mixture_of(space: FusedSpace, modality: str, parts: Parts, grid: Sequence[float]) -> Mixture:
    """Return a modality's rows at every factor of a grid; at one if it has no factor."""
    stage = space.last
    components = np.stack(stage.components(parts))
    if len(components) == 1:
        return Mixture.fixed(components[0])
    shares = np.array([stage.shares(modality, factor) for factor in grid], np.float32)
    norms = norms_of(components, shares)
    return Mixture(components, shares, norms if stage.normalise else np.ones_like(norms))


def grid_for(modalities: int) -> Sequence[float]:
    """Return 21 values from 0 to 1; fewer for more than 5 modalities with a factor."""
    counts = (count for count in (21, 11, 6, 3) if count**modalities <= MOST_POINTS)
    return tuple(np.linspace(0, 1, next(counts, 2)).round(3).tolist())
