"""The description of a bond: its direction, its spaces and its projectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax

from fb_jax import files
from fb_jax.errors import FreeBindError, unknown
from fb_jax.files.kinds import Width
from fb_jax.numerics import Precision
from fb_jax.projector.mcr import GAP, Connection, Extension
from fb_jax.projector.mixture import Subset, Variables, init_mixture
from fb_jax.projector.pipelines import PIPELINES, PipelineName
from fb_jax.projector.projector import Projector
from fb_jax.pseudo import Side, bridge_of, in_order

BondKind = Literal["combination", "displacement", "direct_sum", "cmcr", "exmcr"]
Optimiser = Literal["adam", "adamw_cosine"]


@dataclass(frozen=True)
class Direction:
    """Which space is projected into which.

    Attributes:
        source: The side that is projected; its projectors are trained.
        target: The side that stays frozen, unless the target is a new space.
        epochs: Passes over a projector's own pairs [P].
        direct: True if the two spaces stand side by side and the projection fills in what the
            target lacks [O]; False if both are summed in the target space.
        pipeline: What the projectors are and are trained with, if the options do not say.
        new: The target is a new space, into which both sides are projected (C-MCR).
        optimiser: Adam, or AdamW with a cosine decay of the learning rate.
    """

    source: Side
    target: Side
    epochs: int
    direct: bool = False
    pipeline: PipelineName = "freebind"
    new: bool = False
    optimiser: Optimiser = "adam"


DIRECTIONS: Mapping[BondKind, Direction] = {
    "displacement": Direction("unified", "expert", epochs=5),  # Eq. 7
    "combination": Direction("expert", "unified", epochs=20),  # Eq. 8
    "direct_sum": Direction("unified", "expert", epochs=5, direct=True),  # trained as Eq. 7
    "cmcr": Direction(
        "expert", "unified", epochs=36, pipeline="cmcr", new=True, optimiser="adamw_cosine"
    ),
    "exmcr": Direction("expert", "unified", epochs=36, pipeline="exmcr", optimiser="adamw_cosine"),
}


class End(NamedTuple):
    """A space at one end of a bond: its name, its modalities and its dimension."""

    name: str
    modalities: Iterable[str]
    dim: int


@dataclass(frozen=True)
class BondSpec:
    """The description of a bond: everything but its numbers, and how to compute with them.

    Attributes:
        kind: Its direction.
        unified: Name of the unified space.
        expert: Name of the expert space.
        modalities: Modalities of either space; pseudo pairs start from each of them.
        shared: Modalities of the expert.
        members: For each projector of the mixture, the starts of the pairs that it is trained on.
        dim_in: Dimension of the space that is projected.
        dim_out: Dimension of the target space; of the unified one if the target is a new space.
        hidden: Width of the projectors.
        pipeline: What the projectors are.
        lacking: Modalities of the expert that the unified space lacks.
        distilled: Digest of the fused space whose mixture its one projector was trained to replace;
            "" if it was trained on pseudo pairs.
    """

    kind: BondKind
    unified: str
    expert: str
    modalities: tuple[str, ...]
    shared: tuple[str, ...]
    members: tuple[Subset, ...]
    dim_in: Width
    dim_out: Width
    hidden: Width = 2048
    pipeline: PipelineName = "freebind"
    lacking: tuple[str, ...] = ()
    distilled: str = ""

    @classmethod
    def between(
        cls,
        kind: BondKind,
        unified: End,
        expert: End,
        hidden: int | None = None,
        pipeline: PipelineName | None = None,
        anchor: str | None = None,
    ) -> BondSpec:
        """Describe the bond of two spaces.

        Args:
            kind: Its direction.
            unified: The unified space.
            expert: The expert.
            hidden: Width of the projectors; None: the pipeline's.
            pipeline: What the projectors are; None: the direction's.
            anchor: See ``fb_jax.pseudo.plan_for``.

        Raises:
            FreeBindError: There is no such kind of bond, or it does not fit the spaces.
        """
        if kind not in DIRECTIONS:
            raise unknown("bond", kind, DIRECTIONS)
        direction = DIRECTIONS[kind]
        own, theirs = in_order(unified.modalities), in_order(expert.modalities)
        starts, dims = in_order({*own, *theirs}), (unified.dim, expert.dim)
        dim_in, dim_out = dims if direction.source == "unified" else dims[::-1]
        pipeline = pipeline or direction.pipeline
        spec = cls(
            kind=kind,
            unified=unified.name,
            expert=expert.name,
            modalities=starts,
            shared=theirs,
            members=PIPELINES[pipeline].members(starts, bridge_of(own, theirs, anchor)),
            dim_in=dim_in,
            dim_out=dim_out,
            hidden=hidden or PIPELINES[pipeline].hidden,
            pipeline=pipeline,
            lacking=tuple(m for m in theirs if m not in own),
        )
        spec._require_fit()
        return spec

    def _require_fit(self) -> None:
        """Raise a FreeBindError if the direction, the pipeline and the spaces do not fit."""
        direction = self.direction
        if direction.direct and self.lacking:
            raise FreeBindError(
                "a direct sum cannot fill in what the unified space lacks",
                where=f"{self.unified} and {self.expert}",
                expected="an expert whose modalities the unified space has",
                got=f"also {', '.join(self.lacking)}",
                fix="use a combination, cmcr or exmcr",
            )
        own = direction.direct or direction.pipeline != "freebind"
        if own and self.pipeline != direction.pipeline:
            raise FreeBindError(
                "this bond has a pipeline of its own",
                where=self.kind,
                expected=direction.pipeline,
                got=self.pipeline,
                fix="use --bond combination or displacement with another pipeline",
            )

    @property
    def direction(self) -> Direction:
        """Which space is projected into which."""
        return DIRECTIONS[self.kind]

    @property
    def weighted(self) -> tuple[str, ...]:
        """Modalities with a unified and an expert part in the fused space."""
        if self.direction.direct:
            return self.modalities
        return tuple(m for m in self.shared if m not in self.lacking)

    @property
    def unified_modalities(self) -> tuple[str, ...]:
        """Modalities of the unified space."""
        return tuple(m for m in self.modalities if m not in self.lacking)

    def dim(self, side: Side) -> int:
        """Return the dimension of the unified or the expert space."""
        return self.dim_in if side == self.direction.source else self.dim_out

    def projector(self, precision: Precision = "float32") -> nn.Module:
        """Return the module that every member of the mixture is."""
        if self.pipeline == "exmcr":
            return Extension(self.dim_out, self.hidden, precision)
        return (Connection if self.direction.new else Projector)(
            self.dim_out, self.hidden, precision
        )

    def route(self, side: Side, modality: str) -> str | None:
        """Return the route of a modality through the projectors; None if it is not projected.

        In Ex-MCR, modalities that the target lacks go through f_l first.
        """
        if self.direction.new:
            return side
        if side == self.direction.target:
            return None
        target = self.shared if side == "unified" else self.unified_modalities
        return GAP if self.pipeline == "exmcr" and modality not in target else ""

    def init(self, key: jax.Array) -> Variables:
        """Return the initial numbers of all members; every leaf ``[members, ...]``."""
        dims = {"": self.dim_in} | ({GAP: self.dim_in} if self.pipeline == "exmcr" else {})
        if self.direction.new:
            dims = {"unified": self.dim_out, "expert": self.dim_in}
        return init_mixture(self.projector(), key, dims, len(self.members))

    @cached_property
    def parameters(self) -> int:
        """Number of trained parameters of one member."""
        shapes = jax.eval_shape(self.init, jax.random.key(0)).params
        return sum(leaf.size for leaf in jax.tree.leaves(shapes)) // len(self.members)

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON types; what earlier versions did not know is left out."""
        later = {"pipeline": "freebind", "lacking": (), "distilled": ""}
        return {name: x for name, x in asdict(self).items() if later.get(name, ...) != x}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: object) -> BondSpec:
        """Read a description; older ones have no modalities: their last member has all.

        Args:
            fields: See ``to_json``.
            where: Their file, for messages.

        Raises:
            FreeBindError: A field is missing or of another kind.
        """
        what = "not the description of a bond"
        with files.explained(what, where):
            older = {"modalities": fields["members"][-1]}
        spec = files.convert({**older, **fields}, cls, where, what)
        nested = set(spec.lacking) < set(spec.shared) <= set(spec.modalities)
        if not (spec.members and all(spec.members) and nested):
            raise FreeBindError(what, where=where, got=fields)
        return spec
