"""Sweeps over the factors: retrieval against the weights of the expert (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.evaluation.models import Space, fused_rows, tables_for
from fb_jax.evaluation.retrieval import retrieval
from fb_jax.fusion import Factors, FusedSpace, Parts, parts_of

GRID = tuple(np.linspace(0, 1, 11).round(3).tolist())


@dataclass(frozen=True, eq=False)
class Sweep:
    """R@1 over a grid of two factors.

    Attributes:
        modalities: Modalities of the first and the second factor.
        grid: Values that each factor takes.
        surfaces: Pair of modalities to ``[g, g]`` R@1 in percent, first factor down the rows.
        unified: Pair of modalities to R@1 of the unified space, native or an earlier stage.
        fixed: Factors of the other modalities.
        symbol: The paper's name of a factor: lambda after a displacement, else sigma.
    """

    modalities: tuple[str, str]
    grid: Sequence[float]
    surfaces: dict[str, Float[np.ndarray, "g g"]]
    unified: dict[str, float]
    fixed: Factors = field(default_factory=dict)
    symbol: str = "sigma"

    def best(self) -> dict[str, float]:
        """Return the factors with the best mean R@1 over all pairs; of equal ones the lowest."""
        mean = np.mean(list(self.surfaces.values()), axis=0)
        i, j = (int(k) for k in np.unravel_index(np.argmax(mean), mean.shape))
        first, second = self.modalities
        return {first: self.grid[i], second: self.grid[j], **self.fixed}

    def to_dict(self) -> dict[str, Any]:
        """Return the surfaces as JSON types."""
        surfaces = {pair: surface.tolist() for pair, surface in self.surfaces.items()}
        own = {part.name: getattr(self, part.name) for part in fields(self)}
        return own | {"surfaces": surfaces, "grid": list(self.grid)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.modalities, tuple(self.grid), self.symbol))

    def __str__(self) -> str:
        best = ", ".join(f"{self.symbol} {m} {factor:g}" for m, factor in self.best().items())
        return f"R@1 of {', '.join(self.surfaces)} over {len(self.grid)}^2 factors; best at {best}"


def sweep(
    space: FusedSpace,
    banks: BankSet,
    grid: Sequence[float] = GRID,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate R@1 for every pair of modalities at every pair of factors.

    The first two modalities with a factor are swept; others stay at the space's factors [O].

    Args:
        space: The fused space.
        banks: Its native spaces over a split with pairs. Choose factors on validation.
        grid: Values of a factor.
        progress: Called with the number of pairs of modalities just done.

    Returns:
        The surfaces, of the pairs of modalities that the unified space also has rows of.

    Raises:
        FreeBindError: The banks have no pairs of modalities that can be fused.
    """
    first, second, *others = space.weighted
    parts = parts_of(space, banks)
    steps = range(len(grid))
    surfaces, unified = {}, {}
    unified_rows = _unified_rows(space, banks)
    for (left, right), table in tables_for(space, banks).items():
        if not {left, right} <= parts.keys() & unified_rows.keys():
            continue
        score = cache(partial(_recall_at, space, parts, left, right, table))
        at = lambda m, i, j: {first: grid[i], second: grid[j]}.get(m)  # noqa: E731
        surfaces[f"{left}-{right}"] = np.array(
            [[score(at(left, i, j), at(right, i, j)) for j in steps] for i in steps]
        )
        own = [unified_rows[m] for m in (left, right)]
        unified[f"{left}-{right}"] = retrieval(own[0], own[1], table)["R@1"]
        progress(1)
    fixed = {modality: space.factors[modality] for modality in others}
    symbol = "lambda" if space.last.bonds[0].kind == "displacement" else "sigma"
    return Sweep((first, second), grid, surfaces, unified, fixed, symbol)


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
    """Return R@1 of two modalities at their factors; None for one that is not swept."""
    named = {m: f for m, f in zip((left, right), factors, strict=True) if f is not None}
    at = space.with_factors(**named)
    return retrieval(at.mix(left, parts[left]), at.mix(right, parts[right]), table)["R@1"]
