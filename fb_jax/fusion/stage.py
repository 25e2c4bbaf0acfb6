"""A stage of a fused space: bonds that fuse a unified space with one or several experts.

Every kind of stage brings each side's rows into one space (the parts) and mixes them at a factor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from fb_jax.banks import unit_rows
from fb_jax.banks.directions import refuse_short
from fb_jax.errors import FreeBindError, notice_once, require_range, unknown
from fb_jax.fusion import mixing
from fb_jax.fusion.factors import CHOSEN, PRESETS, Factors
from fb_jax.numerics import Precision
from fb_jax.projector import Bond, Router, require_compatible
from fb_jax.pseudo import in_order

NativeRows = Mapping[str, Float32[np.ndarray, "n _"]]
"""Native space to ``[n, d]`` unit rows of the same items."""


class Items(NamedTuple):
    """Some items of one modality, as they come to a stage.

    Attributes:
        modality: Name of the modality.
        unified: ``[n, d]`` rows of the unified space; not used for a modality of tuned rows.
        native: Rows of the native spaces that have the items: the experts' and those that a router
            reads, or the tuned rows.
        precision: Precision of the projectors' matrix products.
        weights: ``[n, b]`` weights of the items for each block (``Stage.blocks_of``); None: all 1.
    """

    modality: str
    unified: np.ndarray
    native: NativeRows
    precision: Precision
    weights: Float32[np.ndarray, "n b"] | None = None


class Parts(NamedTuple):
    """The contribution of each side to a modality.

    Attributes:
        unified: ``[n, d]``, the unified space's rows, projected if the bond projects them. They are
            unit rows, except after a stage with ``normalise=False`` that is not projected [P].
        expert: ``[n, d_e]`` unit rows of the experts, projected if the bond projects them; None if
            no expert has the items. In a direct sum, the experts' dimensions side by side.
        lacking: Experts that have the modality, but not these items.

    If a router weighs the items (``Stage.routers``), each block is already multiplied by its
    weight, so that parts are no unit rows. Rows are then normalised once mixed, at any factors.
    """

    unified: Float32[np.ndarray, "n d"]
    expert: Float32[np.ndarray, "n _"] | None
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage(ABC):
    """Bonds at some factors; each kind of stage checks itself.

    Attributes:
        bonds: One bond, or bonds of the same unified space with several experts. Planned bonds do
            for everything but fusing.
        factors: Weight of the expert part, 0 to 1, for every modality that has one.
        normalise: L2-normalise the fused rows [C]; False leaves the bare equations [P].
        name: Name of the result. The bonds of a next stage name it as their unified space.
        tuned_rows: Modality that no expert has to a native space, whose rows are taken as they are:
            those of an encoder that was tuned into this space (the dagger products [P]).
        presets: Factors by name; only those for this stage's modalities count.
        routers: Modality to the router that weighs the blocks of its items, beside the factors.
            Items without a row in a space that it reads have the weights 1.
    """

    direct: ClassVar[bool]
    """Whether this kind of stage takes direct-sum bonds, or all the others."""

    bonds: tuple[Bond, ...]
    factors: Factors = field(hash=False)
    normalise: bool = True
    name: str = ""
    tuned_rows: Mapping[str, str] = field(default_factory=dict, hash=False)
    presets: Mapping[str, Factors] = field(default_factory=lambda: PRESETS, hash=False)
    routers: Mapping[str, Router] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        require_compatible(self.bonds, self.direct)
        self._require_factors()
        self._require_tuned_rows()
        self._require_routers()

    @property
    def unified(self) -> str:
        """Name of the unified space."""
        return self.bonds[0].unified

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return tuple(bond.expert for bond in self.bonds)

    @property
    def title(self) -> str:
        """The name, or ``UNIFIED+EXPERT+...`` if there is none."""
        return self.name or "+".join([self.unified, *self.experts])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the result: those of the unified space, and what experts bring."""
        return in_order({m for bond in self.bonds for m in bond.modalities})

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities that some expert has."""
        return tuple(dict.fromkeys(m for bond in self.bonds for m in bond.shared))

    @property
    def weighted(self) -> tuple[str, ...]:
        """Modalities with a unified and an expert part, and so with a factor."""
        both = {m for bond in self.bonds for m in bond.weighted}
        return tuple(m for m in dict.fromkeys([*self.shared, *self.modalities]) if m in both)

    def blocks_of(self, modality: str) -> tuple[str, ...]:
        """Return the spaces that rows of a weighted modality consist of, the unified one first."""
        there = (bond.expert for bond in self.bonds if self.direct or modality in bond.shared)
        return (self.unified, *there)

    def kept(self, modality: str) -> str | None:
        """Return the expert whose rows of a modality are fused rows already, if there is one."""
        return None

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the result."""

    def fitting_presets(self) -> dict[str, Factors]:
        """Return the presets that fit, by name; the first is the default.

        Chosen factors come first, if there are any, and those that the stage had before last.
        """
        chosen = {CHOSEN: self.presets[CHOSEN]} if CHOSEN in self.presets else {}
        before = {self.title: self.presets[self.title]} if self.title in self.presets else {}
        return {**chosen, **self._fitting_presets(), **before}

    @abstractmethod
    def _fitting_presets(self) -> dict[str, Factors]:
        """Return the presets that fit, without chosen factors."""

    @abstractmethod
    def shares(self, modality: str, factor: float) -> tuple[float, float]:
        """Return the weights of both components in a row at a factor; see ``components``."""

    def components(self, parts: Parts) -> list[Float32[np.ndarray, "n d"]]:
        """Return the one or two components of a modality's rows, in the space of the result.

        A row at a factor is the sum of its components weighted by ``shares``, normalised. So
        scores are bilinear in the shares of both rows.
        """
        return [parts.unified] if parts.expert is None else [parts.unified, parts.expert]

    def parts(self, items: Items) -> Parts:
        """Bring both sides into the target space; factors play no part in it."""
        modality, native = items.modality, items.native
        if modality in self.tuned_rows:
            return Parts(native[self.tuned_rows[modality]], None)
        having = [bond.expert for bond in self.bonds if modality in bond.shared]
        lacking = tuple(expert for expert in having if expert not in native)
        there = {expert: native[expert] for expert in having if expert in native}
        router = self.routers.get(modality)
        weights = router.weights(native) if router and router.reads(native) else None
        parts = self._parts(items._replace(native=there, weights=weights))
        return parts._replace(lacking=lacking)

    @abstractmethod
    def _parts(self, items: Items) -> Parts:
        """See ``parts``, for a modality without tuned rows; ``native`` has this stage's experts."""

    @abstractmethod
    def _mixed(self, modality: str, unified: Array, expert: Array, lacking: Sequence[str]) -> Array:
        """Mix two parts at the stage's factors; the result is not normalised."""

    def mix(self, modality: str, parts: Parts) -> Float32[np.ndarray, "n d"]:
        """Return the fused rows ``[n, d]`` of a modality from its parts (Eq. 3, 9, 10).

        Raises:
            FreeBindError: The parts of a row cancel out, so that it cannot be normalised:
                their sum has a norm below ``LEAST_NORM`` (``fb_jax.banks.directions``).
        """
        if parts.expert is None:
            return parts.unified
        sides = jnp.asarray(parts.unified), jnp.asarray(parts.expert)
        mixed = self._mixed(modality, *sides, parts.lacking)
        if not self.normalise:
            return np.asarray(mixed)
        self._refuse_short(modality, np.asarray(jnp.linalg.norm(mixed, axis=-1)))
        return np.asarray(mixing.unit(mixed))

    def _unit(self, modality: str, rows: np.ndarray) -> Float32[np.ndarray, "n d"]:
        """Return unit rows of means of unit rows.

        Raises:
            FreeBindError: One has nearly cancelled out.
        """
        self._refuse_short(modality, np.linalg.norm(rows, axis=1))
        return unit_rows(rows)

    def _projected(self, bond: Bond, items: Items) -> Float32[np.ndarray, "n d"]:
        """Return the unit rows Psi(x) of unified rows x, which an earlier stage may shorten."""
        unit, modality = self._unit(items.modality, items.unified), items.modality
        return self._unit(modality, bond.to_target("unified", modality, unit, items.precision))

    def _refuse_short(self, modality: str, norms: np.ndarray) -> None:
        fix = "choose other factors (or a cut of more dimensions), or leave these items out"
        refuse_short(norms, "the parts of some rows", f"{self.title}, {modality}", fix)

    def with_experts(self, experts: Sequence[str]) -> Stage:
        """Return the stage with some of its experts, without a name and without routers.

        Raises:
            FreeBindError: One of them is not there, or none is left.
        """
        for expert in experts:
            if expert not in self.experts:
                raise unknown("expert", expert, self.experts, self.title)
        if self.routers:
            notice_once(f"{self.title}: without some of its experts it has no routers")
        kept = tuple(bond for bond in self.bonds if bond.expert in experts)
        weighted = {m for bond in kept for m in bond.weighted}
        factors = {m: factor for m, factor in self.factors.items() if m in weighted}
        presets = {name: preset for name, preset in self.presets.items() if name != CHOSEN}
        return replace(self, bonds=kept, factors=factors, name="", presets=presets, routers={})

    def at(self, preset: str) -> Stage:
        """Return the stage at a preset's factors.

        Raises:
            FreeBindError: There is no such preset for these experts.
        """
        if preset not in (presets := self.fitting_presets()):
            raise unknown("preset", preset, presets, f"{self.unified} + {', '.join(self.experts)}")
        return replace(self, factors=presets[preset])

    def choosing(self, factors: Factors) -> Stage:
        """Return the stage at factors that were chosen for it: its preset ``CHOSEN``."""
        known = CHOSEN in self.presets or self.factors in self._fitting_presets().values()
        own = {} if known else {self.title: self.factors}
        presets = {**self.presets, **own, CHOSEN: dict(factors)}
        return replace(self, factors=factors, presets=presets)

    def _require_factors(self) -> None:
        for modality, factor in self.factors.items():
            if modality not in self.weighted:
                experts = " and ".join(self.experts)
                raise unknown(f"factor of {experts} for", modality, self.weighted)
            require_range("the factor of", 0.0, 1.0, **{modality: factor})
        for modality in self.weighted:
            if modality not in self.factors:
                raise FreeBindError(
                    "a factor is missing", where=modality, expected="0 to 1", got=self.factors
                )

    def _require_tuned_rows(self) -> None:
        for modality, native in self.tuned_rows.items():
            if modality not in self.modalities:
                raise unknown("modality", modality, self.modalities, self.title)
            if modality in self.weighted or native in (self.unified, *self.experts):
                raise FreeBindError(
                    "tuned rows cannot be fused",
                    where=f"{self.title}: {modality}",
                    expected="a modality that no expert of this stage has, from a native space "
                    "that is neither the unified one nor an expert",
                    got=f"{native}; experts: {', '.join(self.experts)}, with "
                    f"{', '.join(self.shared)}",
                )

    def _require_routers(self) -> None:
        for modality, router in self.routers.items():
            if modality not in self.weighted:
                raise unknown("modality of a router", modality, self.weighted, self.title)
            blocks = self.blocks_of(modality)
            if router.spec.modality != modality or router.spec.outputs != len(blocks):
                raise FreeBindError(
                    "a router belongs to another space",
                    where=f"{self.title}: {modality}",
                    expected=f"weights of {modality} for {', '.join(blocks)}",
                    got=f"{router.spec.outputs} weights of {router.spec.modality}",
                )
