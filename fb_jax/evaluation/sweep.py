"""Sweeps over the factors: retrieval against the weights of the expert (Figures 3-6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.banks.directions import LEAST_NORM
from fb_jax.evaluation.bilinear import Mixture, recall_surface
from fb_jax.evaluation.models import tables_for, unified_rows
from fb_jax.evaluation.retrieval import retrieval
from fb_jax.fusion import Factors, FusedSpace, Parts, parts_of

MOST_POINTS = 1 << 22
"""Maximum number of combinations of factors that are compared."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """R@1 over a grid of factors.

    Attributes:
        modalities: Modalities with a factor.
        grid: Values that each factor takes.
        surfaces: Pair of modalities (``audio-text``) to R@1 in percent, ``[g, g]``: the factor of
            its first modality down the rows. A modality without a factor has one row or column.
        unified: Pair of modalities to R@1 of the unified space, native or an earlier stage.
        symbol: The paper's name of a factor: lambda after a displacement, else sigma.
    """

    modalities: tuple[str, ...]
    grid: Sequence[float]
    surfaces: dict[str, Float[np.ndarray, "_ _"]]
    unified: dict[str, float]
    symbol: str = "sigma"

    def over_factors(self, pair: str) -> Float[np.ndarray, ...]:
        """Return the R@1 of a pair with one axis for every modality that has a factor.

        The axis of a modality that is not in the pair has length 1.
        """
        owners = [m for m in pair.split("-") if m in self.modalities]
        surface = self.surfaces[pair].reshape([len(self.grid)] * len(owners))
        order = sorted(range(len(owners)), key=lambda i: self.modalities.index(owners[i]))
        shape = [len(self.grid) if m in owners else 1 for m in self.modalities]
        return surface.transpose(order).reshape(shape)

    def plane(self, pair: str, at: Factors) -> Float[np.ndarray, "g h"]:
        """Return the R@1 of a pair over the first two factors, the first one down the rows.

        Args:
            pair: Pair of modalities.
            at: The other factors; the nearest of the grid is taken.
        """
        swept = np.broadcast_to(self.over_factors(pair), [len(self.grid)] * len(self.modalities))
        for modality in reversed(self.modalities[2:]):
            nearest = np.abs(np.subtract(self.grid, at[modality])).argmin()
            swept = swept[..., int(nearest)]
        return swept

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
        return (
            f"R@1 of {', '.join(self.surfaces)} at {len(self.grid)} values of "
            f"{self.symbol} of {', '.join(self.modalities)}"
        )


def sweep(
    space: FusedSpace,
    banks: BankSet,
    grid: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate R@1 for every pair of modalities at every pair of factors.

    Args:
        space: The fused space.
        banks: Its native spaces over a split with pairs. Choose factors on validation.
        grid: Values of a factor, 0 to 1; None: see ``grid_for``.
        progress: Called with the number of pairs of modalities just done.

    Returns:
        The surfaces, of the pairs of modalities that the unified space also has rows of.

    Raises:
        FreeBindError: The banks have no pairs of modalities that can be fused.
    """
    grid = grid_for(len(space.weighted)) if grid is None else grid
    mixtures = {m: mixture_of(space, m, part, grid) for m, part in parts_of(space, banks).items()}
    surfaces, unified = {}, {}
    before = unified_rows(space, banks)
    for (left, right), table in tables_for(space, banks).items():
        if not {left, right} <= mixtures.keys() & before.keys():
            continue
        surfaces[f"{left}-{right}"] = recall_surface(mixtures[left], mixtures[right], table)
        found = retrieval(before[left], before[right], table, metrics=["R@1"])
        unified[f"{left}-{right}"] = found["R@1"]
        progress(1)
    symbol = "lambda" if space.last.bonds[0].kind == "displacement" else "sigma"
    return Sweep(space.weighted, grid, surfaces, unified, symbol)


def mixture_of(space: FusedSpace, modality: str, parts: Parts, grid: Sequence[float]) -> Mixture:
    """Return a modality's rows at every factor of a grid; at one if it has no factor."""
    stage = space.last
    components = np.stack(stage.components(parts))
    if len(components) == 1:
        return Mixture(components, np.ones((1, 1), np.float32), np.ones_like(components[:, :, 0]))
    shares = np.array([stage.shares(modality, factor) for factor in grid], np.float32)
    squares = np.einsum("ind,jnd->ijn", components, components)
    norms = np.sqrt(np.maximum(np.einsum("gi,gj,ijn->gn", shares, shares, squares), LEAST_NORM**2))
    return Mixture(components, shares, norms if stage.normalise else np.ones_like(norms))


def grid_for(modalities: int) -> Sequence[float]:
    """Return 21 values from 0 to 1; fewer for more than 5 modalities with a factor."""
    counts = (count for count in (21, 11, 6, 3) if count**modalities <= MOST_POINTS)
    return tuple(np.linspace(0, 1, next(counts, 2)).round(3).tolist())
