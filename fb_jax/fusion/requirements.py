"""What bonds, factors and a base must be to make a fused space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fb_jax.errors import FreeBindError, unknown
from fb_jax.projector import Bond

if TYPE_CHECKING:
    from fb_jax.fusion.space import FusedSpace


def require_factors(space: FusedSpace) -> None:
    """Raise a FreeBindError unless the modalities with an expert part, and no other, have one."""
    for modality, factor in space.factors.items():
        if modality not in space.weighted:
            raise unknown(f"factor of {' and '.join(space.experts)} for", modality, space.weighted)
        if not 0 <= factor <= 1:
            raise FreeBindError(
                "a factor is a weight", where=modality, expected="0 to 1", got=factor
            )
    if not 0 < space.fill <= 1:
        raise FreeBindError(
            "a share of a weight", where="fill", expected="above 0 to 1", got=space.fill
        )
    for modality in space.weighted:
        if modality not in space.factors:
            raise FreeBindError(
                "a factor is missing", where=modality, expected="0 to 1", got=space.factors
            )


def require_given(space: FusedSpace) -> None:
    """Raise a FreeBindError unless modalities are given that this space has and no expert has."""
    for modality, native in space.given.items():
        if modality not in space.modalities:
            raise unknown("modality", modality, space.modalities, space.title)
        if modality in space.weighted or native in (space.unified, *space.experts):
            raise FreeBindError(
                "rows that are given cannot be fused",
                where=f"{space.title}: {modality}",
                expected="a modality that no expert of this stage has, from a space of its own",
                got=f"{native}; experts: {', '.join(space.experts)}, of {', '.join(space.shared)}",
            )


def require_base(bonds: Sequence[Bond], base: FusedSpace) -> None:
    """Raise a FreeBindError unless the unified space of these bonds can be this base."""
    first = bonds[0]
    fits = first.dim("unified") == base.dim and set(first.modalities) <= set(base.modalities)
    if not fits or (base.name and base.name != first.unified):
        raise FreeBindError(
            "the base is not the unified space of these bonds",
            expected=_signature(first.unified, first.dim("unified"), first.modalities),
            got=_signature(base.title, base.dim, base.modalities),
            fix="give the fused space whose rows these bonds were trained on",
        )
    for bond in bonds:
        if base.dims.get(bond.expert, bond.dim("expert")) != bond.dim("expert"):
            raise FreeBindError(
                "the base has another space of this name",
                where=bond.expert,
                expected=f"{bond.dim('expert')} dimensions",
                got=f"{base.dims[bond.expert]} dimensions",
            )


def _signature(name: str, dim: int, modalities: Sequence[str]) -> str:
    return f"{name}, {dim} dimensions, {', '.join(modalities)}"


def require_compatible(bonds: Sequence[Bond]) -> None:
    """Raise a FreeBindError unless these bonds go into one frozen space, each from another."""
    if not bonds:
        raise FreeBindError("a fused space needs a bond", got="none")
    first, kinds = bonds[0], {bond.kind for bond in bonds}
    ends = {(bond.unified, bond.modalities, bond.dim("unified")) for bond in bonds}
    experts = [bond.expert for bond in bonds]
    mixed = len(kinds) > 1 or "displacement" in kinds or len(ends) > 1
    if len(bonds) > 1 and mixed:
        raise FreeBindError(
            "these bonds do not go into one space",
            expected="combinations into one unified space, or direct sums with it",
            got="; ".join(f"{b.kind} of {b.expert} and {b.unified}" for b in bonds),
        )
    if len(set(experts)) < len(experts) or first.unified in experts:
        raise FreeBindError(
            "a space is fused with itself", got=", ".join([first.unified, *experts])
        )


def require_cut(space: FusedSpace, dim: int) -> None:
    """Raise a FreeBindError unless a space is a direct sum and can be cut to these dimensions."""
    if not space.direct:
        raise FreeBindError(
            "only a direct sum can be cut",
            where=space.title,
            expected="bonds of the kind direct_sum",
            got=space.bonds[0].kind,
        )
    if not 0 < dim <= space.dim:
        raise FreeBindError(
            "a direct sum cannot be cut to this",
            where=space.title,
            expected=f"1 to {space.dim} dimensions",
            got=dim,
        )


def require_basis(space: FusedSpace) -> None:
    """Raise a FreeBindError unless only a direct sum is cut, to its own directions."""
    if space.basis is None:
        return
    whole = replace(space, basis=None).dim
    require_cut(replace(space, basis=None), space.basis.shape[1])
    if len(space.basis) != whole:
        raise FreeBindError(
            "a basis is of another space",
            where=space.title,
            expected=f"{whole} rows",
            got=len(space.basis),
        )
