"""The fused space: per modality a weighted sum of what both spaces say (Eq. 3, 9, 10).

    fused[m] = unit((1 - s_m) * unified part + s_m * expert part)

The side that the bond projects goes through the mixture Psi, the other is taken as it is; a
modality that one side lacks is the other side's alone. That is Eq. 3 for a displacement and Eq. 9
and 10 for a combination: the two differ in which side is projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError, unknown
from fb_jax.projector import Bond, Ends
from fb_jax.pseudo import SIDES, Side

Factors = Mapping[str, float]
"""Modality to the weight of the expert, 0 to 1 (lambda_v, lambda_t, sigma_a, sigma_t)."""

PRESETS: Mapping[str, Factors] = {
    "versatile": {"audio": 0.5, "text": 0.1},  # [P]
    "at_expertise": {"audio": 0.8, "text": 0.5},  # [P]
    "it_expertise": {"image": 0.9, "text": 0.9},  # factors [P], the name is ours
}


def presets_for(bond: Bond) -> dict[str, Factors]:
    """Return the presets that set the factors of just the expert's modalities."""
    shared = bond.shared
    return {name: factors for name, factors in PRESETS.items() if set(factors) == set(shared)}


class Parts(NamedTuple):
    """What each side contributes to a modality, both ``[n, d]`` unit rows of the target space.

    Attributes:
        unified: The unified space's rows, projected if the bond projects it.
        expert: The expert's rows, projected if the bond projects it; None if it lacks the modality.
    """

    unified: Float32[np.ndarray, "n d"]
    expert: Float32[np.ndarray, "n d"] | None


@dataclass(frozen=True)
class FusedSpace:
    """A unified and an expert space, fused by a bond at some factors.

    Attributes:
        bond: The trained bond.
        factors: Weight of the expert for every modality that it has.
        normalise: L2-normalise the weighted sums [C]; False gives the bare equations [P].
    """

    bond: Bond
    factors: Factors
    normalise: bool = True

    def __post_init__(self) -> None:
        for modality, factor in self.factors.items():
            if modality not in self.bond.shared:
                raise unknown(f"factor of {self.bond.expert} for", modality, self.bond.shared)
            if not 0 <= factor <= 1:
                raise FreeBindError(
                    "a factor is a weight", where=modality, expected="0 to 1", got=factor
                )
        for modality in self.bond.shared:
            if modality not in self.factors:
                raise FreeBindError(
                    "a factor is missing", where=modality, expected="0 to 1", got=self.factors
                )

    @classmethod
    def preset(cls, bond: Bond, name: str) -> FusedSpace:
        """Return the space at a preset's factors.

        Raises:
            FreeBindError: There is no such preset for this kind of expert.
        """
        known = presets_for(bond)
        if name not in known:
            raise unknown("preset", name, known, f"{bond.kind} of {bond.expert}")
        return cls(bond, known[name])

    def with_factors(self, **factors: float) -> FusedSpace:
        """Return the same space at other factors; those that are not named stay.

        Args:
            **factors: Modality to the weight of the expert, 0 to 1.

        Raises:
            FreeBindError: The expert lacks a modality, or a factor is outside 0 to 1.
        """
        return replace(self, factors={**self.factors, **factors})

    @property
    def dim(self) -> int:
        """Dimension of the fused space: that of the bond's target."""
        return self.bond.projector.dim

    def parts(
        self,
        unified: Float[np.ndarray, "n d_u"],
        expert: Float[np.ndarray, "n d_e"] | None,
    ) -> Parts:
        """Bring both sides of some items of one modality into the target space.

        Args:
            unified: ``[n, d_u]`` embeddings, of any norm.
            expert: ``[n, d_e]`` embeddings of the same items, or None if the expert lacks the
                modality.

        Returns:
            Both parts; factors do not enter.
        """
        sides: dict[Side, np.ndarray | None] = {"unified": unified, "expert": expert}
        placed = [self._place(side, sides[side]) for side in SIDES]
        assert placed[0] is not None
        return Parts(placed[0], placed[1])

    def _place(self, side: Side, rows: np.ndarray | None) -> np.ndarray | None:
        if rows is None:
            return None
        if rows.ndim != 2 or rows.shape[1] != self.bond.dim(side):
            name = self.bond.unified if side == "unified" else self.bond.expert
            raise FreeBindError(
                f"these are no embeddings of the {side} space {name}",
                expected=f"[n, {self.bond.dim(side)}]",
                got=list(rows.shape),
            )
        rows = unit_rows(rows)
        return self.bond.project(rows) if side == self.bond.direction.source else rows

    def mix(self, modality: str, parts: Parts) -> Float32[np.ndarray, "n d"]:
        """Eq. 3, 9 or 10: the weighted sum of both parts of a modality.

        Args:
            modality: Which factor to take.
            parts: See ``parts``.

        Returns:
            ``[n, d]`` rows of the fused space.
        """
        if parts.expert is None:
            return parts.unified
        factor = np.float32(self.factors[modality])
        mixed = (1 - factor) * parts.unified + factor * parts.expert
        return unit_rows(mixed) if self.normalise else mixed

    def fuse(
        self,
        modality: str,
        unified: Float[np.ndarray, "n d_u"],
        expert: Float[np.ndarray, "n d_e"] | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """Fuse the embeddings of some items of one modality.

        Args:
            modality: Name of the modality.
            unified: ``[n, d_u]`` embeddings, of any norm.
            expert: ``[n, d_e]`` embeddings of the same items, or None; see ``parts``.

        Returns:
            ``[n, d]`` rows of the fused space.

        Raises:
            FreeBindError: There is no such modality, the expert's embeddings are missing or too
                many, or embeddings have another dimension.
        """
        if modality not in self.bond.modalities:
            raise unknown("modality", modality, self.bond.modalities)
        if (expert is not None) != (modality in self.bond.shared):
            raise FreeBindError(
                f"the expert {self.bond.expert} has {', '.join(self.bond.shared)}",
                where=modality,
                expected="its embeddings for these modalities, and for no others",
                got="none" if expert is None else "some",
            )
        return self.mix(modality, self.parts(unified, expert))

    def parts_of(self, banks: BankSet) -> dict[str, Parts]:
        """Return the parts of every modality that can be fused from these banks."""
        return {m: self.parts(*sources(self.bond, banks, m)) for m in fusable(self.bond, banks)}


def fusable(bond: Ends, banks: BankSet) -> tuple[str, ...]:
    """Return the modalities of which both sides are here, or the only side that has them."""
    return tuple(
        m
        for m in banks.modalities(bond.unified)
        if m in bond.modalities and (m not in bond.shared or (bond.expert, m) in banks.banks)
    )


def sources(
    bond: Bond, banks: BankSet, modality: str, rows: slice = slice(None)
) -> tuple[Float32[np.ndarray, "n d_u"], Float32[np.ndarray, "n d_e"] | None]:
    """Return both sides' rows of a modality; None for an expert that lacks it."""
    expert = banks[bond.expert, modality][rows] if modality in bond.shared else None
    return banks[bond.unified, modality][rows], expert
