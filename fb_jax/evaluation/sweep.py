"""Sweeps over the factors: how retrieval changes as the expert weighs more (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fb_jax.banks import BankSet, Progress, no_progress
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
        progress: Told of rows of the grid that were done, for each pair of modalities.

    Returns:
        The surfaces.
    """
    first, second = space.bond.shared
    parts = space.parts_of(banks)
    rows = {m: _rows_by_factor(space, m, part, grid) for m, part in parts.items()}
    surfaces, unified = {}, {}
    for left, right in banks.paired():
        pairs = banks.pairs(left, right)
        name = f"{left}-{right}"
        surface = np.empty((len(grid), len(grid)))
        known: dict[tuple[int, int], float] = {}
        for i, j in np.ndindex(surface.shape):
            at = {first: i, second: j}
            key = (at.get(left, 0), at.get(right, 0))
            if key not in known:  # a pair may depend on one factor only, or on none
                known[key] = retrieval(rows[left][key[0]], rows[right][key[1]], pairs)["R@1"]
            surface[i, j] = known[key]
            if j == len(grid) - 1:
                progress(1)
        surfaces[name] = surface
        own = [banks[space.bond.unified, m][:] for m in (left, right)]
        unified[name] = retrieval(own[0], own[1], pairs)["R@1"]
    return Sweep((first, second), grid, surfaces, unified)


def _rows_by_factor(
    space: FusedSpace, modality: str, parts: Parts, grid: Sequence[float]
) -> list[np.ndarray]:
    if parts.expert is None:
        return [parts.unified]
    return [space.with_factors(**{modality: factor}).mix(modality, parts) for factor in grid]
