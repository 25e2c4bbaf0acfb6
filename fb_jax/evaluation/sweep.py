"""Sweeps over the factors: how retrieval changes as the expert weighs more (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
from jaxtyping import Float, Integer

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.evaluation.models import Space, fused_rows, pair_tables
from fb_jax.evaluation.retrieval import retrieval
from fb_jax.fusion import Factors, FusedSpace, Parts, parts_of

GRID = tuple(np.linspace(0, 1, 11).round(3).tolist())


@dataclass(frozen=True)
class Sweep:
    """R@1 over a grid of two factors.

    Attributes:
        modalities: Of the first and the second factor.
        grid: Values that each factor takes.
        surfaces: Pair of modalities to ``[g, g]`` R@1 in percent, first factor down the rows.
        unified: Pair of modalities to R@1 of the unified space, native or base.
        fixed: Factors of the other modalities.
    """

    modalities: tuple[str, str]
    grid: Sequence[float]
    surfaces: dict[str, Float[np.ndarray, "g g"]]
    unified: dict[str, float]
    fixed: Factors = field(default_factory=dict)


def sweep(
    space: FusedSpace,
    banks: BankSet,
    grid: Sequence[float] = GRID,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate R@1 for every pair of modalities at every pair of factors.

    The first two modalities that have a factor are swept; more stay at the space's factors [O].

    Args:
        space: The fused space.
        banks: Its spaces over a split with pairs. Factors are chosen on validation.
        grid: Values of a factor.
        progress: Told of pairs of modalities that were done.

    Returns:
        The surfaces.
    """
    first, second, *others = space.weighted
    parts = parts_of(space, banks)
    places = range(len(grid))
    surfaces, unified = {}, {}
    unified_rows = _unified_rows(space, banks)
    for (left, right), table in pair_tables(space.modalities, banks).items():
        if left not in parts or right not in parts:
            continue
        score = cache(partial(_recall_at, space, parts, left, right, table))
        at = lambda m, i, j: {first: grid[i], second: grid[j]}.get(m)  # noqa: E731
        surfaces[f"{left}-{right}"] = np.array(
            [[score(at(left, i, j), at(right, i, j)) for j in places] for i in places]
        )
        own = [unified_rows[m] for m in (left, right)]
        unified[f"{left}-{right}"] = retrieval(own[0], own[1], table)["R@1"]
        progress(1)
    fixed = {modality: space.factors[modality] for modality in others}
    return Sweep((first, second), grid, surfaces, unified, fixed)


def _unified_rows(space: FusedSpace, banks: BankSet) -> Space:
    if space.base is not None:
        return fused_rows(space.base, banks)
    return {m: banks[space.unified, m][:] for m in banks.modalities(space.unified)}


def _recall_at(
    space: FusedSpace,
    parts: Mapping[str, Parts],
    left: str,
    right: str,
    table: Integer[np.ndarray, "p 2"],
    *factors: float | None,
) -> float:
    """R@1 of a pair of modalities at their factors; None for a modality that is not swept."""
    named = {m: f for m, f in zip((left, right), factors, strict=True) if f is not None}
    at = space.with_factors(**named)
    return retrieval(at.mix(left, parts[left]), at.mix(right, parts[right]), table)["R@1"]
