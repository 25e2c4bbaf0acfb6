"""Bonds: a bond is a direction between two spaces, and the mixture trained in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import unit_rows
from fb_jax.errors import unknown
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import Subset, Variables, subset_name
from fb_jax.projector.projector import Projector
from fb_jax.pseudo import Side

BondKind = Literal["combination", "displacement", "direct_sum"]


@dataclass(frozen=True)
class Direction:
    """Which space is projected into which.

    Attributes:
        source: The side that is projected; its projectors are trained.
        target: The side that is kept frozen.
        epochs: Passes over a member's own pairs [P].
        direct: Whether the spaces stand side by side and what is projected fills in what the target
            lacks [O]; otherwise both are summed in the target.
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


@runtime_checkable
class Ends(Protocol):
    """The two spaces that a bond links, whether it is trained yet or not."""

    @property
    def unified(self) -> str:
        """Name of the unified space."""

    @property
    def expert(self) -> str:
        """Name of the expert space."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Modalities of the expert."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that pairs start from: those of the unified space."""


@dataclass(frozen=True)
class Bond:
    """A trained mixture between a unified and an expert space.

    Attributes:
        kind: Its direction.
        unified: Name of the unified space.
        expert: Name of the expert space.
        shared: Modalities of the expert, all of which the unified space has.
        modalities: Of the unified space.
        members: The starts that each member was trained on.
        projector: The members' form.
        variables: The members' numbers, leading axis ``len(members)``.
    """

    kind: BondKind
    unified: str
    expert: str
    shared: tuple[str, ...]
    modalities: tuple[str, ...]
    members: tuple[Subset, ...]
    projector: Projector
    variables: Variables = field(repr=False)

    @property
    def direction(self) -> Direction:
        """Which space is projected into which."""
        return DIRECTIONS[self.kind]

    @property
    def weighted(self) -> tuple[str, ...]:
        """Modalities that have an expert part in the fused space."""
        return self.modalities if self.direction.direct else self.shared

    def dim(self, side: Side) -> int:
        """Return the dimension of a side's space."""
        dim_in = self.variables.params["linear_in"]["kernel"].shape[1]
        return dim_in if side == self.direction.source else self.projector.dim

    @cached_property
    def folded(self) -> Folded:
        """The members as inference runs them; made once, when first needed."""
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
        return replace(self, members=(member,), variables=alone)

    def place(self, side: Side, x: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d_out"]:
        """Bring a side's rows into the target space, a bounded number at a time.

        Args:
            side: Whose rows.
            x: ``[n, d]`` unit rows, any modality.

        Returns:
            ``[n, d_out]``: of the side that is projected the mean of its members' unit outputs, to
            be normalised (more experts' members may join the mean); the other's as they are.
        """
        if side == self.direction.target:
            return x
        return mean_output(self.folded, x, self.projector.precision)

    def project(self, x: Float[np.ndarray, "n d_in"]) -> Float32[np.ndarray, "n d_out"]:
        """Psi(x): the mean of the members' unit outputs [P, C], then L2 norm [C].

        Args:
            x: ``[n, d_in]`` unit rows of the source space, any modality.

        Returns:
            ``[n, d_out]`` unit rows in the target space.
        """
        return unit_rows(self.place(self.direction.source, x))
