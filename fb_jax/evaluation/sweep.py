"""Sweeps over the factors: how retrieval changes as the expert weighs more (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from jaxtyping import Float

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.evaluation.models import pair_tables
from fb_jax.evaluation.retrieval import retrieval
from fb_jax.fusion import FusedSpace, Parts

GRID = tuple(np.linspace(0, 1, 11).round(3).tolist())


@dataclass(frozen=True)
class Sweep:
    """R@1 over a grid of two factors.

    Attributes:
        modalities: Of the first and the second factor.
        grid: Values that each factor takes.
        surfaces: Pair of modalities to ``[g, g]`` R@1 in percent, first factor down the rows.
        unified: Pair of modalities to R@1 of the unified space.
    """

    modalities: tuple[str, str]
    grid: Sequence[float]
    surfaces: dict[str, Float[np.ndarray, "g g"]]
    unified: dict[str, float]


def sweep(
    space: FusedSpace,
    banks: BankSet,
    grid: Sequence[float] = GRID,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate R@1 for every pair of modalities at every pair of factors.

    Args:
        space: The fused space; its factors do not matter.
        banks: Both its spaces over a split with pairs. Factors are chosen on validation.
        grid: Values of a factor.
        progress: Told of pairs of modalities that were done.

    Returns:
        The surfaces.
    """
    first, second = space.bond.shared
    parts = space.parts_of(banks)
    steps = range(len(grid))
    rows = {m: _rows_by_factor(space, m, part, grid) for m, part in parts.items()}
    surfaces, unified = {}, {}
    for (left, right), table in pair_tables(banks).items():
        if left in rows and right in rows:
            name = f"{left}-{right}"
            score = cache(partial(_recall_at, rows, left, right, table))
            place = lambda m, i, j: {first: i, second: j}.get(m, 0)  # noqa: E731
            surfaces[name] = np.array(
                [[score(place(left, i, j), place(right, i, j)) for j in steps] for i in steps]
            )
            own = [banks[space.bond.unified, m][:] for m in (left, right)]
            unified[name] = retrieval(own[0], own[1], table)["R@1"]
            progress(1)
    return Sweep((first, second), grid, surfaces, unified)


def _recall_at(
    rows: Mapping[str, list[np.ndarray]],
    left: str,
    right: str,
    table: np.ndarray,
    at_left: int,
    at_right: int,
) -> float:
    return retrieval(rows[left][at_left], rows[right][at_right], table)["R@1"]


def _rows_by_factor(
    space: FusedSpace, modality: str, parts: Parts, grid: Sequence[float]
) -> list[np.ndarray]:
    if parts.expert is None:
        return [parts.unified]
    return [space.with_factors(**{modality: factor}).mix(modality, parts) for factor in grid]
