"""A bond links a unified and an expert space: a description, and the numbers of a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32

from fb_jax import files
from fb_jax.banks import unit_rows
from fb_jax.errors import FreeBindError, unknown
from fb_jax.files.kinds import Width
from fb_jax.numerics import Precision
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import Subset, Variables, subset_name, subsets
from fb_jax.projector.projector import Projector
from fb_jax.pseudo import Side, in_order

BondKind = Literal["combination", "displacement", "direct_sum"]


@dataclass(frozen=True)
class Direction:
    """Which space is projected into which.

    Attributes:
        source: The side that is projected; its projectors are trained.
        target: The side that stays frozen.
        epochs: Passes over a projector's own pairs [P].
        direct: True if the two spaces stand side by side and the projection fills in what the
            target lacks [O]; False if both are summed in the target space.
    """

    source: Side
    target: Side
    epochs: int
    direct: bool = False


DIRECTIONS: Mapping[BondKind, Direction] = {
    "displacement": Direction("unified", "expert", epochs=5),  # Eq. 7
    "combination": Direction("expert", "unified", epochs=20),  # Eq. 8
    "direct_sum": Direction("unified", "expert", epochs=5, direct=True),  # trained as Eq. 7
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
        modalities: Modalities of the unified space; pseudo pairs start from each of them.
        shared: Modalities of the expert; the unified space has all of them.
        members: For each projector of the mixture, the starts of the pairs that it is trained on.
        dim_in: Dimension of the space that is projected.
        dim_out: Dimension of the target space.
        hidden: Width of the projectors.
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

    @classmethod
    def between(cls, kind: BondKind, unified: End, expert: End, hidden: int) -> BondSpec:
        """Describe the bond of two spaces with one projector for every subset of the starts.

        Raises:
            FreeBindError: There is no such kind of bond.
        """
        if kind not in DIRECTIONS:
            raise unknown("bond", kind, DIRECTIONS)
        modalities, dims = in_order(unified.modalities), (unified.dim, expert.dim)
        dim_in, dim_out = dims if DIRECTIONS[kind].source == "unified" else dims[::-1]
        return cls(
            kind=kind,
            unified=unified.name,
            expert=expert.name,
            modalities=modalities,
            shared=in_order(expert.modalities),
            members=subsets(modalities),
            dim_in=dim_in,
            dim_out=dim_out,
            hidden=hidden,
        )

    @property
    def direction(self) -> Direction:
        """Which space is projected into which."""
        return DIRECTIONS[self.kind]

    @property
    def weighted(self) -> tuple[str, ...]:
        """Modalities with an expert part in the fused space."""
        return self.modalities if self.direction.direct else self.shared

    def dim(self, side: Side) -> int:
        """Return the dimension of the unified or the expert space."""
        return self.dim_in if side == self.direction.source else self.dim_out

    def projector(self, precision: Precision = "float32") -> Projector:
        """Return the module that every member of the mixture is."""
        return Projector(self.dim_out, self.hidden, precision)

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON types."""
        return asdict(self)

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
        if not (spec.members and all(spec.members) and set(spec.shared) <= set(spec.modalities)):
            raise FreeBindError(what, where=where, got=fields)
        return spec


@dataclass(frozen=True, eq=False)
class Bond:
    """A description and its numbers.

    Attributes:
        spec: The description.
        variables: The members' numbers, every leaf ``[members, ...]`` float32. None: the bond is
            planned. It can be asked for anything except a projection.
    """

    spec: BondSpec
    variables: Variables | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bond) or self.spec != other.spec:
            return False
        leaves, theirs = (jax.tree.leaves(bond.variables) for bond in (self, other))
        return len(leaves) == len(theirs) and all(map(np.array_equal, leaves, theirs))

    def __hash__(self) -> int:
        return hash(self.spec)

    kind = property(lambda self: self.spec.kind, doc="See ``BondSpec``, as for those below.")
    unified = property(lambda self: self.spec.unified, doc="Name of the unified space.")
    expert = property(lambda self: self.spec.expert, doc="Name of the expert space.")
    modalities = property(lambda self: self.spec.modalities, doc="Those of the unified space.")
    shared = property(lambda self: self.spec.shared, doc="Modalities of the expert.")
    members = property(lambda self: self.spec.members, doc="The starts of each projector.")
    direction = property(lambda self: self.spec.direction, doc="Which side is projected.")
    weighted = property(lambda self: self.spec.weighted, doc="Modalities with an expert part.")

    def dim(self, side: Side) -> int:
        """Return the dimension of the unified or the expert space."""
        return self.spec.dim(side)

    def __getstate__(self) -> dict[str, Any]:
        return {"spec": self.spec, "variables": self.variables}  # not what was folded

    @cached_property
    def folded(self) -> Folded:
        """The members as inference runs them; computed at the first use.

        Raises:
            FreeBindError: The bond is not trained yet.
        """
        if self.variables is None:
            raise FreeBindError(
                "this bond is not trained yet",
                where=f"{self.kind} of {self.expert} and {self.unified}",
                fix="train it first: fb_jax.train_bond, or freebind train",
            )
        return fold(self.variables)

    def only(self, member: Subset) -> Bond:
        """Return the bond of one of the members alone (Table 8).

        Raises:
            FreeBindError: No member was trained on these starts.
        """
        if member not in self.members:
            known = map(subset_name, self.members)
            raise unknown("projector trained on", subset_name(member), known)
        i = self.members.index(member)
        alone = jax.tree.map(lambda leaf: leaf[i : i + 1], self.variables)
        return Bond(replace(self.spec, members=(member,)), alone)

    def to_target(
        self, side: Side, x: Float[np.ndarray, "n d"], precision: Precision = "float32"
    ) -> Float32[np.ndarray, "n d_out"]:
        """Bring rows of one side into the target space, in blocks of bounded size.

        Args:
            side: The side that the rows belong to.
            x: ``[n, d]`` unit rows, any modality.
            precision: Precision of the matrix products.

        Returns:
            ``[n, d_out]``. For the projected side, the mean of the members' unit outputs, not
            normalised (members of other experts may join the mean); for the target side, ``x``.
        """
        if side == self.direction.target:
            return x
        return mean_output(self.folded, x, precision)

    def project(
        self, x: Float[np.ndarray, "n d_in"], precision: Precision = "float32"
    ) -> Float32[np.ndarray, "n d_out"]:
        """Psi(x): the mean of the members' unit outputs [P, C], then L2 norm [C].

        Args:
            x: ``[n, d_in]`` unit rows of the source space, any modality.
            precision: Precision of the matrix products.

        Returns:
            ``[n, d_out]`` unit rows of the target space.

        Raises:
            FreeBindError: The bond is not trained yet.
        """
        return unit_rows(self.to_target(self.direction.source, x, precision))
