"""The fused space: per modality a weighted sum of what its spaces say (Eq. 3, 9, 10).

    fused[m] = unit((1 - s_m) * unified part + s_m * expert part)

The side that the bond projects goes through the mixture Psi, the other is taken as it is; a
modality that one side lacks is the other side's alone. That is Eq. 3 for a displacement and Eq. 9
and 10 for a combination: the two differ in which side is projected. Of a direct sum the parts stand
side by side instead; see ``fb_jax.fusion.direct_sum``.

A product is a space: the unified space of a second stage may be the fused space of a first, at its
factors [P].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion import direct_sum
from fb_jax.fusion.embed import ItemEncoder, encoded, find_encoder, to_numpy
from fb_jax.fusion.presets import PRESETS, Factors, presets_for
from fb_jax.fusion.requirements import (
    require_base,
    require_basis,
    require_compatible,
    require_cut,
    require_factors,
    require_given,
)
from fb_jax.projector import Bond, Ends

CUT_ROWS = 1 << 16
"""Most rows of a modality that a cut is fitted on, evenly spaced."""


class Parts(NamedTuple):
    """What each side contributes to a modality, both ``[n, d]`` unit rows of the target space.

    Attributes:
        unified: The unified space's rows, projected if the bond projects it. Of a base with
            ``normalise=False`` that is not projected they have the norm that it gives them [P].
        expert: The experts' rows, projected if the bond projects them; None if none has the
            modality. Of a direct sum the experts' own dimensions, side by side.
    """

    unified: Float32[np.ndarray, "n d"]
    expert: Float32[np.ndarray, "n _"] | None


@dataclass(frozen=True)
class FusedSpace:
    """A unified space and its experts, fused by bonds at some factors.

    Attributes:
        bonds: One trained bond, or a combination or a direct sum with each of several experts.
        factors: Weight of the expert part for every modality that has one.
        normalise: L2-normalise the weighted sums [C]; False gives the bare equations [P].
        base: The fused space that is the bonds' unified space; None if that is a native one.
        name: What it is called; the bonds of a next stage name it as their unified space.
        given: Modality that no expert has to the native space whose rows it is, as they come: those
            of an encoder that was tuned into this space (the dagger products [P]).
        fill: Of a direct sum: squared norm of the part of an expert that lacks a modality, of that
            of one that has it, above 0 to 1 [O].
        basis: ``[d, k]`` orthonormal directions that a direct sum is cut to; see ``cut``.
        presets: Factors by name; those of other modalities are passed over.
        licences: Native space to the licence of its encoder, where that is known.
        encoders: Native space to what encodes its items; others are found by entry point.
    """

    bonds: tuple[Bond, ...]
    factors: Factors
    normalise: bool = True
    base: FusedSpace | None = None
    name: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    fill: float = direct_sum.FILL
    basis: Float32[np.ndarray, "d k"] | None = field(default=None, repr=False)
    presets: Mapping[str, Factors] = field(default_factory=lambda: PRESETS)
    licences: Mapping[str, str] = field(default_factory=dict)
    encoders: Mapping[str, ItemEncoder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_compatible(self.bonds)
        if self.base is not None:
            require_base(self.bonds, self.base)
        require_factors(self)
        require_given(self)
        require_basis(self)

    @classmethod
    def preset(cls, name: str, *bonds: Bond, base: FusedSpace | None = None) -> FusedSpace:
        """Return the space of some bonds at a preset's factors.

        Raises:
            FreeBindError: There is no such preset for this kind of expert.
        """
        return cls.halfway(*bonds, base=base).at(name)

    @classmethod
    def halfway(cls, *bonds: Bond, base: FusedSpace | None = None) -> FusedSpace:
        """Return the space of some bonds with every factor at 0.5 [O]."""
        return cls(bonds, {m: 0.5 for bond in bonds for m in bond.weighted}, base=base)

    def at(self, preset: str) -> FusedSpace:
        """Return the same space at a preset's factors.

        Raises:
            FreeBindError: There is no such preset for these experts.
        """
        if preset not in (known := presets_for(self)):
            where = f"{self.unified} + {', '.join(self.experts)}"
            raise unknown("preset", preset, known, where)
        return replace(self, factors=known[preset])

    def cut(self, dim: int, banks: BankSet) -> FusedSpace:
        """Return the same direct sum in fewer dimensions, by an uncentred PCA of fused rows [O].

        Args:
            dim: Dimensions to keep.
            banks: All its native spaces over the pool. At most ``CUT_ROWS`` rows of a modality are
                read, and every modality counts the same.

        Returns:
            The space with a basis. It was fitted at these factors; others keep it.

        Raises:
            FreeBindError: It is no direct sum, or has fewer dimensions.
        """
        whole = replace(self, basis=None)
        require_cut(whole, dim)
        moments = [_moment(whole, banks, modality) for modality in self.fusable(banks)]
        return replace(self, basis=direct_sum.principal_axes(np.mean(moments, axis=0), dim))

    def with_factors(self, **factors: float) -> FusedSpace:
        """Return the same space at other factors; those that are not named stay.

        A base keeps its own: the bonds were trained onto it there. For another base,
        ``dataclasses.replace(space, base=space.base.with_factors(...))``.

        Args:
            **factors: Modality to the weight of the expert part, 0 to 1.

        Raises:
            FreeBindError: No expert has a modality, or a factor is outside 0 to 1.
        """
        return replace(self, factors={**self.factors, **factors})

    def with_experts(self, experts: Iterable[str]) -> FusedSpace:
        """Return the space of some of the experts, uncut; a base keeps its own.

        Raises:
            FreeBindError: One of them is not an expert of these bonds, or none is left.
        """
        wanted = [experts] if isinstance(experts, str) else list(experts)
        for expert in wanted:
            if expert not in self.experts:
                raise unknown("expert", expert, self.experts, self.title)
        kept = tuple(bond for bond in self.bonds if bond.expert in wanted)
        weighted = {m for bond in kept for m in bond.weighted}
        factors = {m: factor for m, factor in self.factors.items() if m in weighted}
        return replace(self, bonds=kept, factors=factors, basis=None, name="")

    def with_encoders(self, encoders: Mapping[str, ItemEncoder]) -> FusedSpace:
        """Return the same space with (more) encoders, native space to encoder; see ``embed``."""
        return replace(self, encoders={**self.encoders, **encoders})

    @property
    def unified(self) -> str:
        """Name of the unified space: a native one, or the base."""
        return self.bonds[0].unified

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the expert spaces of these bonds; a base has its own."""
        return tuple(bond.expert for bond in self.bonds)

    @property
    def stages(self) -> tuple[FusedSpace, ...]:
        """The fused spaces that this one is built from, the first one first, and this one."""
        return (*(self.base.stages if self.base else ()), self)

    @property
    def dims(self) -> dict[str, int]:
        """Native space to its dimension, in the order of ``spaces``."""
        ground = self.base.dims if self.base else {self.unified: self.bonds[0].dim("unified")}
        own = {bond.expert: bond.dim("expert") for bond in self.bonds}
        return ground | own | dict.fromkeys(self.given.values(), self.dim)

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of all the native spaces that rows are fused from, the unified one first."""
        return tuple(self.dims)

    @property
    def title(self) -> str:
        """Its name, or ``UNIFIED+EXPERT+...`` if it has none."""
        return self.name or "+".join([self.unified, *self.experts])

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities that some expert of these bonds has."""
        return tuple(dict.fromkeys(m for bond in self.bonds for m in bond.shared))

    @property
    def direct(self) -> bool:
        """Whether it is a direct sum."""
        return self.bonds[0].direction.direct

    @property
    def weighted(self) -> tuple[str, ...]:
        """Modalities that have an expert part, and so a factor."""
        return tuple(dict.fromkeys([*self.shared, *(m for b in self.bonds for m in b.weighted)]))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the fused space: those of the unified space."""
        return self.bonds[0].modalities

    @property
    def dim(self) -> int:
        """Dimension of the fused space: that of the bonds' target, or of what it is cut to."""
        if self.basis is not None:
            return self.basis.shape[1]
        if self.direct:
            return self.bonds[0].dim("unified") + sum(bond.dim("expert") for bond in self.bonds)
        return self.bonds[0].projector.dim

    def spaces_of(self, modality: str) -> tuple[str, ...]:
        """Return the names of the native spaces that a modality is fused from."""
        if modality in self.given:
            return (self.given[modality],)
        ground = self.base.spaces_of(modality) if self.base else (self.unified,)
        having = [bond.expert for bond in self.bonds if modality in bond.shared]
        return tuple(dict.fromkeys([*ground, *having]))

    def modalities_of(self, space: str) -> tuple[str, ...]:
        """Return the modalities that are taken from a native space."""
        return tuple(m for m in self.modalities if space in self.spaces_of(m))

    def parts(self, modality: str, rows: Mapping[str, Any]) -> Parts:
        """Bring what the spaces say of some items of one modality into the target space.

        Args:
            modality: Name of the modality.
            rows: Native space to ``[n, d]`` embeddings of the same items, of any norm, for every
                space that has the modality: NumPy, JAX or torch.

        Returns:
            Both parts; factors of these bonds do not enter.

        Raises:
            FreeBindError: There is no such modality, embeddings of a space are missing or too many,
                or have another dimension.
        """
        found = {space: to_numpy(array) for space, array in rows.items()}
        self._require_rows(modality, found)
        own = {space: unit_rows(array) for space, array in found.items()}
        unified = self._unified_part(modality, own)
        if self.direct:
            unit = unit_rows(unified)
            blocks = [
                own[b.expert] if modality in b.shared else b.project(unit) for b in self.bonds
            ]
            return Parts(unified, direct_sum.expert_part(blocks, self._weights(modality)))
        outputs = [b.place("expert", own[b.expert]) for b in self.bonds if modality in b.shared]
        return Parts(unified, unit_rows(np.mean(outputs, axis=0)) if outputs else None)

    def _weights(self, modality: str) -> Float32[np.ndarray, " e"]:
        """Return what each expert's part of a direct sum weighs."""
        return direct_sum.weights([modality in bond.shared for bond in self.bonds], self.fill)

    def _unified_part(
        self, modality: str, own: Mapping[str, Float32[np.ndarray, "n _"]]
    ) -> Float32[np.ndarray, "n d"]:
        bond = self.bonds[0]
        if modality in self.given:
            return own[self.given[modality]]
        if self.base is None:
            rows = own[self.unified]
        else:
            rows = self.base.fuse(modality, {s: own[s] for s in self.base.spaces_of(modality)})
        if bond.direction.source == "unified" and not self.direct:
            return bond.project(unit_rows(rows))
        return rows

    def _require_rows(self, modality: str, rows: Mapping[str, np.ndarray]) -> None:
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        if set(rows) != set(self.spaces_of(modality)):
            raise FreeBindError(
                f"{modality} is fused from the embeddings of every space that has it",
                expected=", ".join(self.spaces_of(modality)),
                got=", ".join(rows) or "none",
            )
        first, count = next((space, len(found)) for space, found in rows.items())
        for space, found in rows.items():
            if found.shape != (count, self.dims[space]):
                raise FreeBindError(
                    f"these are no embeddings of {space} of as many items as {first} has",
                    expected=[count, self.dims[space]],
                    got=list(found.shape),
                )

    def mix(self, modality: str, parts: Parts) -> Float32[np.ndarray, "n d"]:
        """Eq. 3, 9 or 10: the weighted sum of both parts of a modality; or their direct sum.

        Args:
            modality: Which factor to take.
            parts: See ``parts``.

        Returns:
            ``[n, d]`` rows of the fused space.
        """
        if parts.expert is None:
            return parts.unified
        factor = np.float32(self.factors[modality])
        if self.direct:
            weight = float(factor * self._weights(modality).mean())
            mixed = direct_sum.joined(parts.unified, parts.expert, weight)
            mixed = mixed if self.basis is None else mixed @ self.basis
        else:
            mixed = (1 - factor) * parts.unified + factor * parts.expert
        return unit_rows(mixed) if self.normalise else mixed

    def fuse(self, modality: str, rows: Mapping[str, Any]) -> Float32[np.ndarray, "n d"]:
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

    def fusable(self, banks: BankSet) -> tuple[str, ...]:
        """Return the modalities of which every native space that has them is in these banks."""
        return tuple(
            m
            for m in banks.rows
            if m in self.modalities and all((s, m) in banks.banks for s in self.spaces_of(m))
        )

    def parts_of(self, banks: BankSet) -> dict[str, Parts]:
        """Return the parts of every modality that can be fused from these banks."""
        return {m: self.parts(m, sources(self, banks, m)) for m in self.fusable(banks)}

    def embed(
        self, modality: str, items: Sequence[str | Path], batch: int = 32
    ) -> Float32[np.ndarray, "n d"]:
        """Encode items by every space that has their modality, and fuse the embeddings.

        Args:
            modality: Name of the modality.
            items: Captions, or paths of media files.
            batch: Items to read and encode at a time.

        Returns:
            ``[n, d]`` rows of the fused space.

        Raises:
            FreeBindError: A space has no encoder, an item cannot be read, or see ``parts``.
        """
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        having = self.spaces_of(modality)
        encoders = {s: self.encoders.get(s) or find_encoder(s) for s in having}
        rows = {s: encoded(encoders[s], s, modality, items, batch) for s in having}
        return self.fuse(modality, rows)

    def save(
        self,
        path: Path | str,
        name: str = "",
        *,
        licences: Mapping[str, str] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the space to a folder that ``load`` reads; see ``fb_jax.fusion.artefact``.

        Args:
            path: Folder to make.
            name: What the space is called; its own name by default.
            licences: Native space to the licence of its encoder, beside those known.
            metrics: Split to figures as ``evaluate`` returns them, for the model card.

        Raises:
            FreeBindError: The folder holds something else, or cannot be written.
        """
        from fb_jax.fusion.artefact import write_space

        known = {**self.licences, **(licences or {})}
        write_space(replace(self, name=name or self.title, licences=known), Path(path), metrics)

    @staticmethod
    def load(path: Path | str) -> FusedSpace:
        """Read a space that ``save`` has written.

        Raises:
            FreeBindError: There is none, it is damaged, or another version made it.
        """
        from fb_jax.fusion.artefact import read_space

        return read_space(Path(path))


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


def _moment(space: FusedSpace, banks: BankSet, modality: str) -> np.ndarray:
    """Return the mean of ``x x^T`` over fused rows x of a modality."""
    every = max(1, -(-len(banks.rows[modality]) // CUT_ROWS))
    rows = space.fuse(modality, sources(space, banks, modality, slice(None, None, every)))
    return np.asarray(rows.T @ rows, np.float64) / len(rows)
