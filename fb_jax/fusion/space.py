"""The fused space: per modality a weighted sum of what both spaces say (Eq. 3, 9, 10).

    fused[m] = unit((1 - s_m) * unified part + s_m * expert part)

The side that the bond projects goes through the mixture Psi, the other is taken as it is; a
modality that one side lacks is the other side's alone. That is Eq. 3 for a displacement and Eq. 9
and 10 for a combination: the two differ in which side is projected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError, unknown
from fb_jax.projector import Bond, Ends

Factors = Mapping[str, float]
"""Modality to the weight of the expert, 0 to 1 (lambda_v, lambda_t, sigma_a, sigma_t)."""

PRESETS: Mapping[str, Factors] = {
    "versatile": {"audio": 0.5, "text": 0.1},  # [P]
    "at_expertise": {"audio": 0.8, "text": 0.5},  # [P]
    "it_expertise": {"image": 0.9, "text": 0.9},  # factors [P], the name is ours
}


HALFWAY = "halfway"
"""The preset of experts of other kinds than the paper's: every factor at 0.5 [O]."""


def presets_for(fused: Ends | FusedSpace) -> dict[str, Factors]:
    """Return the presets that set the factors of just the experts' modalities, or ``HALFWAY``."""
    shared = fused.shared
    found = {name: factors for name, factors in PRESETS.items() if set(factors) == set(shared)}
    return found or {HALFWAY: dict.fromkeys(shared, 0.5)}


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
    """A unified space and its experts, fused by bonds at some factors.

    Attributes:
        bonds: One trained bond, or a combination with each of several experts.
        factors: Weight of the expert part for every modality that some expert has.
        normalise: L2-normalise the weighted sums [C]; False gives the bare equations [P].
    """

    bonds: tuple[Bond, ...]
    factors: Factors
    normalise: bool = True

    def __post_init__(self) -> None:
        _require_compatible(self.bonds)
        experts = " and ".join(self.experts)
        for modality, factor in self.factors.items():
            if modality not in self.shared:
                raise unknown(f"factor of {experts} for", modality, self.shared)
            if not 0 <= factor <= 1:
                raise FreeBindError(
                    "a factor is a weight", where=modality, expected="0 to 1", got=factor
                )
        for modality in self.shared:
            if modality not in self.factors:
                raise FreeBindError(
                    "a factor is missing", where=modality, expected="0 to 1", got=self.factors
                )

    @classmethod
    def preset(cls, name: str, *bonds: Bond) -> FusedSpace:
        """Return the space of some bonds at a preset's factors.

        Raises:
            FreeBindError: There is no such preset for this kind of expert.
        """
        halfway = cls.halfway(*bonds)
        known = presets_for(halfway)
        if name not in known:
            experts = ", ".join(halfway.experts)
            raise unknown("preset", name, known, f"{halfway.unified} + {experts}")
        return replace(halfway, factors=known[name])

    @classmethod
    def halfway(cls, *bonds: Bond) -> FusedSpace:
        """Return the space of some bonds with every factor at 0.5 [O]."""
        return cls(bonds, {m: 0.5 for bond in bonds for m in bond.shared})

    def with_factors(self, **factors: float) -> FusedSpace:
        """Return the same space at other factors; those that are not named stay.

        Args:
            **factors: Modality to the weight of the expert part, 0 to 1.

        Raises:
            FreeBindError: No expert has a modality, or a factor is outside 0 to 1.
        """
        return replace(self, factors={**self.factors, **factors})

    @property
    def unified(self) -> str:
        """Name of the unified space."""
        return self.bonds[0].unified

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the expert spaces."""
        return tuple(bond.expert for bond in self.bonds)

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of all the spaces that rows are fused from."""
        return self.unified, *self.experts

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities that some expert has."""
        return tuple(dict.fromkeys(m for bond in self.bonds for m in bond.shared))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the fused space: those of the unified space."""
        return self.bonds[0].modalities

    @property
    def dim(self) -> int:
        """Dimension of the fused space: that of the bonds' target."""
        return self.bonds[0].projector.dim

    def spaces_of(self, modality: str) -> tuple[str, ...]:
        """Return the names of the spaces that have a modality."""
        having = [bond.expert for bond in self.bonds if modality in bond.shared]
        return self.unified, *having

    def parts(self, modality: str, rows: Mapping[str, Float[np.ndarray, "n _"]]) -> Parts:
        """Bring what the spaces say of some items of one modality into the target space.

        Args:
            modality: Name of the modality.
            rows: Space to ``[n, d]`` embeddings of the same items, of any norm, for every space
                that has the modality.

        Returns:
            Both parts; factors do not enter.

        Raises:
            FreeBindError: There is no such modality, embeddings of a space are missing or too many,
                or have another dimension.
        """
        self._require_rows(modality, rows)
        own = {space: unit_rows(found) for space, found in rows.items()}
        outputs = [b.place("expert", own[b.expert]) for b in self.bonds if modality in b.shared]
        unified = unit_rows(self.bonds[0].place("unified", own[self.unified]))
        return Parts(unified, unit_rows(np.mean(outputs, axis=0)) if outputs else None)

    def _require_rows(self, modality: str, rows: Mapping[str, np.ndarray]) -> None:
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        if set(rows) != set(self.spaces_of(modality)):
            raise FreeBindError(
                f"{modality} is fused from the embeddings of every space that has it",
                expected=", ".join(self.spaces_of(modality)),
                got=", ".join(rows) or "none",
            )
        dims = {self.unified: self.bonds[0].dim("unified")}
        dims |= {bond.expert: bond.dim("expert") for bond in self.bonds}
        count = len(rows[self.unified])
        for space, found in rows.items():
            if found.shape != (count, dims[space]):
                raise FreeBindError(
                    f"these are no embeddings of {space} of as many items as {self.unified} has",
                    expected=[count, dims[space]],
                    got=list(found.shape),
                )

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
        self, modality: str, rows: Mapping[str, Float[np.ndarray, "n _"]]
    ) -> Float32[np.ndarray, "n d"]:
        """Fuse the embeddings of some items of one modality.

        Args:
            modality: Name of the modality.
            rows: See ``parts``.

        Returns:
            ``[n, d]`` rows of the fused space.

        Raises:
            FreeBindError: See ``parts``.
        """
        return self.mix(modality, self.parts(modality, rows))

    def parts_of(self, banks: BankSet) -> dict[str, Parts]:
        """Return the parts of every modality that can be fused from these banks."""
        return {m: self.parts(m, sources(self, banks, m)) for m in fusable(self.bonds, banks)}


def _require_compatible(bonds: Sequence[Bond]) -> None:
    """Raise a FreeBindError unless these bonds go into one frozen space, each from another."""
    if not bonds:
        raise FreeBindError("a fused space needs a bond", got="none")
    first, kinds = bonds[0], {bond.kind for bond in bonds}
    ends = {(bond.unified, bond.modalities, bond.dim("unified")) for bond in bonds}
    experts = [bond.expert for bond in bonds]
    if len(bonds) > 1 and (kinds != {"combination"} or len(ends) > 1):
        raise FreeBindError(
            "these bonds do not go into one space",
            expected="combinations into one unified space",
            got="; ".join(f"{b.kind} of {b.expert} and {b.unified}" for b in bonds),
        )
    if len(set(experts)) < len(experts) or first.unified in experts:
        raise FreeBindError(
            "a space is fused with itself", got=", ".join([first.unified, *experts])
        )


def fusable(bonds: Sequence[Ends], banks: BankSet) -> tuple[str, ...]:
    """Return the modalities of which every space that has them is here."""
    return tuple(
        m
        for m in banks.modalities(bonds[0].unified)
        if m in bonds[0].modalities
        and all((bond.expert, m) in banks.banks for bond in bonds if m in bond.shared)
    )


def sources(
    space: FusedSpace, banks: BankSet, modality: str, rows: slice = slice(None)
) -> dict[str, Float32[np.ndarray, "n _"]]:
    """Return the rows of a modality in every space that has it."""
    return {name: banks[name, modality][rows] for name in space.spaces_of(modality)}
