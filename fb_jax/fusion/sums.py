"""The two kinds of stage: the paper's weighted sum, and a direct sum.

    weighted sum   fused[m] = unit((1 - s_m) * unified part + s_m * expert part)        Eq. 3, 9, 10
    direct sum     fused[m] = [sqrt(1 - s_m) * unified part ; sqrt(s_m) * expert part]  [O]

In a weighted sum, the side that the bond projects goes through the mixture Psi and the other side
is taken as it is. A modality that one side lacks is the other side's alone. That is Eq. 3 for a
displacement, and Eq. 9 and 10 for a combination: the two differ in the side that is projected.
Items that an expert lacks are fused as a modality that it lacks [O].

A router gives the item weights r_b of the blocks b, which have the mean 1, beside the factors:

    weighted sum   unit((1 - s) r_0 unified + (s / n) sum_b r_b e_b / c)                      (R2)
    direct sum     unit([sqrt(p_0) r_0 unified ; sqrt(p_1) r_1 expert_1 ; ...])               (R3)

e_b is the mean of the unit outputs of expert b's members, and c the norm of the mean of all e_b; as
in OmniBind [C], c is 1 with ``unit_experts=False``. The p_b are the squared norms of the blocks at
the factors, so that the score of a routed and a plain row of a direct sum is a multiple of
sum_b r_b p_b <q_b, x_b>, the mean of the spaces' scores at the item's own weights.

A direct sum keeps the spaces' vectors side by side, so nothing is lost. With one factor for all
modalities, a score is the weighted sum of the unified and the expert score. Where an expert lacks
a modality, the mixture of a displacement fills its part in: Psi(unified row). A filled-in part is
only an estimate; at full norm its noise would dominate text-image scores, so its squared norm is
scaled by ``fill``. Several experts stand side by side with equal shares.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from fb_jax.errors import require_range
from fb_jax.fusion import mixing
from fb_jax.fusion.factors import EQUAL, UNIFIED_ALONE, Factors, fitting, halfway
from fb_jax.fusion.stage import Items, NativeRows, Parts, Stage
from fb_jax.projector import Bond

FILL = 0.05
"""Default squared norm of a filled-in part, relative to a native one (docs/word_world.md)."""


@dataclass(frozen=True)
class WeightedSum(Stage):
    """A displacement, or combinations with one or several experts.

    Attributes:
        unit_experts: L2-normalise the mean of the experts' members [C]. False leaves it as it is,
            as OmniBind does [C]: an expert whose members disagree counts less.
    """

    direct = False

    unit_experts: bool = True

    @property
    def dim(self) -> int:
        """Dimension of the target space."""
        return self.bonds[0].spec.dim_out

    def _fitting_presets(self) -> dict[str, Factors]:
        """Return the presets for exactly the experts' modalities, or ``HALFWAY``.

        If experts bring modalities that the unified space lacks, its own rows come first, as in the
        authors' inference of C-MCR and Ex-MCR [C].
        """
        alone = {UNIFIED_ALONE: dict.fromkeys(self.weighted, 0.0)}
        brought = any(bond.spec.lacking for bond in self.bonds)
        return (alone if brought else {}) | fitting(self.presets, self.weighted)

    def _parts(self, items: Items) -> Parts:
        """See ``Stage``. With n experts: unit(mean of all their members' unit outputs) [C]."""
        modality, unified, native, precision, weights = items
        outputs = {
            bond.expert: bond.to_target("expert", modality, native[bond.expert], precision)
            for bond in self.bonds
            if bond.expert in native
        }
        by_space: dict[str, np.ndarray] = {}
        if weights is not None:
            by_space = dict(zip(self.blocks_of(modality), weights.T[..., None], strict=True))
        expert = self._expert(modality, outputs, by_space) if outputs else None
        if expert is not None and modality not in self.bonds[0].spec.unified_modalities:
            return Parts(expert, None)  # the experts alone have it
        if self.bonds[0].spec.route("unified", modality) is not None:
            unified = self._projected(self.bonds[0], items)
        if expert is None or weights is None:
            return Parts(unified, expert)
        return Parts(by_space[self.unified] * unified, expert)

    def _expert(
        self, modality: str, outputs: NativeRows, weights: Mapping[str, np.ndarray]
    ) -> Float32[np.ndarray, "n d"]:
        """Return the experts' part of Eq. R2, from the means of each one's members.

        Args:
            modality: Name of the modality.
            outputs: Expert to e_b.
            weights: Space to its weights ``[n, 1]``; empty if they are 1.
        """
        mean = np.mean(list(outputs.values()), axis=0)
        if not weights:
            return self._unit(modality, mean) if self.unit_experts else mean
        routed = np.mean([weights[name] * x for name, x in outputs.items()], axis=0)
        if not self.unit_experts:
            return routed
        norms = np.linalg.norm(mean, axis=1, keepdims=True)
        self._refuse_short(modality, norms[:, 0])
        return routed / norms

    def kept(self, modality: str) -> str | None:
        """See ``Stage``: the target of a displacement at the factor 1."""
        full = self.factors.get(modality) == 1 and modality not in self.routers
        alone = len(self.bonds) == 1 and self.bonds[0].spec.route("expert", modality) is None
        return self.bonds[0].expert if full and alone else None

    def shares(self, modality: str, factor: float) -> tuple[float, float]:
        """See ``Stage``: the bare factors."""
        return 1 - factor, factor

    def _mixed(self, modality: str, unified: Array, expert: Array, lacking: Sequence[str]) -> Array:
        return mixing.weighted_sum(unified, expert, jnp.float32(self.factors[modality]))


@dataclass(frozen=True)
class DirectSum(Stage):
    """The spaces side by side [O].

    Attributes:
        fill: Squared norm of a filled-in part relative to a native one, 1e-06 to 1.
    """

    direct = True

    fill: float = FILL

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("direct sum", 1e-6, 1.0, fill=self.fill)

    @property
    def dim(self) -> int:
        """Dimensions of all spaces together."""
        return sum(self.block_dims)

    @property
    def block_dims(self) -> tuple[int, ...]:
        """Dimensions of the spaces, the unified one's first."""
        return (self.bonds[0].dim("unified"), *(bond.dim("expert") for bond in self.bonds))

    def _fitting_presets(self) -> dict[str, Factors]:
        """Return ``EQUAL``."""
        count = len(self.bonds)
        return {EQUAL: dict.fromkeys(self.weighted, count / (count + 1))}

    def _parts(self, items: Items) -> Parts:
        """See ``Stage``; an expert that lacks the items has its part filled in."""
        unified, native = items.unified, items.native
        blocks = [
            native[bond.expert] if bond.expert in native else self._projected(bond, items)
            for bond in self.bonds
        ]
        if items.weights is not None:
            unified, *blocks = map(np.multiply, items.weights.T[..., None], [unified, *blocks])
        expert = mixing.side_by_side(list(map(jnp.asarray, blocks)), self._norms(native))
        return Parts(unified, np.asarray(expert))

    def _norms(self, native: Container[str]) -> list[float]:
        """Return the squared norm of each expert's part, 1 for a native one."""
        return [1.0 if bond.expert in native else self.fill for bond in self.bonds]

    def shares(self, modality: str, factor: float) -> tuple[float, float]:
        """See ``Stage``: the square roots of both parts' squared norms."""
        weight = self._weight(modality, factor)
        return float(np.sqrt(1 - weight)), float(np.sqrt(weight))

    def components(self, parts: Parts) -> list[Float32[np.ndarray, "n d"]]:
        """See ``Stage``: each part beside zeros for the other."""
        assert parts.expert is not None  # a direct sum fills it in
        sides = [(parts.unified, 0 * parts.expert), (0 * parts.unified, parts.expert)]
        return [np.hstack(side) for side in sides]

    def _part_norms(self, modality: str, lacking: Sequence[str] = ()) -> list[float]:
        """Return ``_norms`` for a modality; ``lacking`` see ``Parts``."""
        having = {bond.expert for bond in self.bonds if modality in bond.shared}
        return self._norms(having.difference(lacking))

    def _weight(self, modality: str, factor: float, lacking: Sequence[str] = ()) -> float:
        """Return the squared norm of the experts' part at a factor; ``lacking`` see ``Parts``."""
        return factor * float(np.mean(self._part_norms(modality, lacking)))

    def _mixed(self, modality: str, unified: Array, expert: Array, lacking: Sequence[str]) -> Array:
        weight = self._weight(modality, self.factors[modality], lacking)
        return mixing.direct_sum(unified, expert, weight)

    def blocks(self, modality: str, parts: Parts) -> list[Float32[np.ndarray, "n _"]]:
        """Return the rows of every space, the unified one first: unit rows, times any weights."""
        assert parts.expert is not None  # a direct sum fills it in
        norms = np.asarray(self._part_norms(modality, parts.lacking), np.float32)
        experts = np.split(parts.expert, np.cumsum(self.block_dims[1:])[:-1], axis=1)
        shares = np.sqrt(norms / norms.sum())
        return [parts.unified, *(x / share for x, share in zip(experts, shares, strict=True))]

    def block_norms(self, modality: str, lacking: Sequence[str] = ()) -> list[float]:
        """Return the squared norms that the blocks have in a fused row; they add up to 1.

        Args:
            modality: Name of the modality.
            lacking: See ``Parts``.
        """
        weight = self._weight(modality, self.factors[modality], lacking)
        norms = self._part_norms(modality, lacking)
        return [1 - weight, *(weight * norm / sum(norms) for norm in norms)]


def make_stage(bonds: Iterable[Bond], factors: Factors | None = None, **options: Any) -> Stage:
    """Return the stage of some bonds: a direct sum of bonds of that kind, else a weighted sum.

    Args:
        bonds: See ``Stage``.
        factors: None: the default preset's.
        **options: Other fields of ``WeightedSum`` or ``DirectSum``.

    Raises:
        FreeBindError: The bonds or factors do not fit.
    """
    bonds = tuple(bonds)
    kind = DirectSum if bonds and bonds[0].direction.direct else WeightedSum
    if factors is not None:
        return kind(bonds, factors, **options)
    every = halfway([m for bond in bonds for m in bond.weighted])
    stage = kind(bonds, every, **options)
    return stage.at(next(iter(stage.fitting_presets())))
