"""A bond links a unified and an expert space: a description, and the numbers of a mixture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import unit_rows
from fb_jax.errors import FreeBindError, unknown
from fb_jax.numerics import Precision
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import Subset, Variables, subset_name
from fb_jax.projector.spec import BondSpec
from fb_jax.pseudo import Side


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
    modalities = property(lambda self: self.spec.modalities, doc="Those of either space.")
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
    def _folded(self) -> dict[str, Folded]:
        return {}

    def folded(self, route: str = "") -> Folded:
        """Return the members as inference runs them on a route; computed at the first use.

        Raises:
            FreeBindError: The bond is not trained yet.
        """
        if self.variables is None:
            raise FreeBindError(
                "this bond is not trained yet",
                where=f"{self.kind} of {self.expert} and {self.unified}",
                fix="train it first: fb_jax.train_bond, or freebind train",
            )
        if route not in self._folded:
            self._folded[route] = fold(self.variables, route)
        return self._folded[route]

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
        self,
        side: Side,
        modality: str,
        x: Float[np.ndarray, "n d"],
        precision: Precision = "float32",
    ) -> Float32[np.ndarray, "n d_out"]:
        """Bring rows of one side into the target space, in blocks of bounded size.

        Args:
            side: The side that the rows belong to.
            modality: Their modality.
            x: ``[n, d]`` unit rows.
            precision: Precision of the matrix products.

        Returns:
            ``[n, d_out]``. For a projected side, the mean of the members' unit outputs, not
            normalised (members of other experts may join the mean); for a frozen side, ``x``.
        """
        route = self.spec.route(side, modality)
        return x if route is None else mean_output(self.folded(route), x, precision)

    def project(
        self,
        x: Float[np.ndarray, "n d_in"],
        precision: Precision = "float32",
        modality: str | None = None,
    ) -> Float32[np.ndarray, "n d_out"]:
        """Psi(x): the mean of the members' unit outputs [P, C], then L2 norm [C].

        Args:
            x: ``[n, d_in]`` unit rows of the source space.
            precision: Precision of the matrix products.
            modality: Their modality; it matters in Ex-MCR only. None: one of both spaces.

        Returns:
            ``[n, d_out]`` unit rows of the target space.

        Raises:
            FreeBindError: The bond is not trained yet.
        """
        known = modality or next(m for m in self.shared if m not in self.spec.lacking)
        return unit_rows(self.to_target(self.direction.source, known, x, precision))


def require_compatible(bonds: tuple[Bond, ...], direct: bool) -> None:
    """Raise a FreeBindError unless bonds of one stage fit it and each other.

    Args:
        bonds: The bonds.
        direct: The stage takes direct-sum bonds.
    """
    if not bonds:
        raise FreeBindError("a fused space needs a bond", got="none")
    first, kinds = bonds[0], {bond.kind for bond in bonds}
    ends = {(b.unified, b.spec.unified_modalities, b.dim("unified")) for b in bonds}
    experts = [bond.expert for bond in bonds]
    alone = any(bond.spec.route("unified", bond.modalities[0]) is not None for bond in bonds)
    mixed = len(kinds) > 1 or (alone and not direct) or len(ends) > 1
    if len(bonds) > 1 and mixed:
        raise FreeBindError(
            "these bonds do not go into one space",
            expected="combinations into one unified space, or direct sums with it",
            got="; ".join(f"{b.kind} of {b.expert} and {b.unified}" for b in bonds),
        )
    if first.direction.direct != direct:
        raise FreeBindError(
            "direct-sum bonds and other bonds need different stages",
            expected="bonds of the kind direct_sum" if direct else "no bond of the kind direct_sum",
            got=first.kind,
        )
    if len(set(experts)) < len(experts) or first.unified in experts:
        raise FreeBindError(
            "a space is fused with itself", got=", ".join([first.unified, *experts])
        )
