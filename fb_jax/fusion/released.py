"""The authors' released checkpoints as fused spaces, and fused spaces as such checkpoints [C]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from fb_jax.errors import FreeBindError
from fb_jax.fusion.space import FusedSpace
from fb_jax.projector import Bond, BondKind, BondSpec
from fb_jax.projector.released import (
    FOLDERS,
    State,
    mixture_from_released,
    mixture_to_released,
)

DIMS = {
    "imagebind": 1024,
    "internvl": 768,
    "clap_general": 512,
    "clap_music": 512,
    "internvl_ib": 768,
    "internvl_ib_tuned": 768,
}
SHARED = {
    "internvl": ("text", "image"),
    "clap_general": ("text", "audio"),
    "clap_music": ("text", "audio"),
}
MODALITIES = ("text", "image", "audio")


class Family(NamedTuple):
    """The bond of a released folder of seven projectors.

    Attributes:
        kind: Direction of the bond.
        unified: Name of the unified space.
        expert: Name of the expert.
    """

    kind: BondKind
    unified: str
    expert: str


FAMILIES: Mapping[str, Family] = {
    "IB_PP_G_Proj": Family("combination", "imagebind", "clap_general"),
    "IB_PP_M_Proj": Family("combination", "imagebind", "clap_music"),
    "InternVL_IB_Proj": Family("displacement", "imagebind", "internvl"),
    "InternVL_IB_PP_G_Proj": Family("combination", "internvl_ib", "clap_general"),
    "InternVL_IB_PP_M_Proj": Family("combination", "internvl_ib", "clap_music"),
    "InternVL_IB_FTPP_G_Proj": Family("combination", "internvl_ib_tuned", "clap_general"),
    "InternVL_IB_FTPP_M_Proj": Family("combination", "internvl_ib_tuned", "clap_music"),
}
PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "imagebind_pp": ("IB_PP_M_Proj", "IB_PP_G_Proj"),
    "internvl_ib": ("InternVL_IB_Proj",),
    "internvl_ib_pp": ("InternVL_IB_PP_M_Proj", "InternVL_IB_PP_G_Proj"),
    "internvl_ib_tuned_pp": ("InternVL_IB_FTPP_M_Proj", "InternVL_IB_FTPP_G_Proj"),
}
"""Product to the families in its last stage (Table 2)."""

BASES: Mapping[str, str] = {
    "internvl_ib_pp": "internvl_ib",
    "internvl_ib_tuned_pp": "internvl_ib_tuned",
}
"""Product to its base, another product."""

TUNED = "internvl_ib_tuned"
TUNED_ROWS: Mapping[str, str] = {"audio": "imagebind_tuned"}
"""``internvl_ib_tuned`` is ``internvl_ib`` with the tuned encoder's rows as audio."""


def bond_from_released(name: str, states: Mapping[str, State]) -> Bond:
    """Return the bond of a released family.

    Args:
        name: Of the family.
        states: Folder of a member to its state dict.

    Raises:
        FreeBindError: See ``mixture_from_released``; or its spaces have other dimensions.
    """
    family, variables = FAMILIES[name], mixture_from_released(states, name)
    kernel_in, kernel_out = (variables.params[f"linear_{end}"]["kernel"] for end in ("in", "out"))
    spec = BondSpec(
        kind=family.kind,
        unified=family.unified,
        expert=family.expert,
        modalities=MODALITIES,
        shared=SHARED[family.expert],
        members=tuple(FOLDERS),
        dim_in=kernel_in.shape[1],
        dim_out=kernel_out.shape[2],
        hidden=kernel_in.shape[2],
    )
    bond = Bond(spec, variables)
    _require_dims(name, bond)
    return bond


def products_from_released(
    families: Mapping[str, Mapping[str, State]], licences: Mapping[str, str] | None = None
) -> dict[str, FusedSpace]:
    """Return the products of Table 2 that some released families give, at their first preset.

    Args:
        families: Family to folder of a member to state dict.
        licences: Native space to licence.

    Returns:
        Product to fused space. A product with one of its two families has one expert. With
        ``internvl_ib`` comes the product of the tuned encoder.

    Raises:
        FreeBindError: See ``bond_from_released``; or the family of a base is missing.
    """
    bonds = {name: bond_from_released(name, states) for name, states in families.items()}
    spaces: dict[str, FusedSpace] = {}
    for product, names in PRODUCTS.items():
        if own := [bonds[name] for name in names if name in bonds]:
            spaces[product] = _product(product, own, spaces)
        if product == "internvl_ib" and product in spaces:
            last = replace(spaces[product].last, name=TUNED, tuned_rows=TUNED_ROWS)
            spaces[TUNED] = spaces[product].with_last(last)
    known = licences or {}
    return {
        name: replace(space, licences={s: known[s] for s in space.dims if s in known})
        for name, space in spaces.items()
    }


def _product(product: str, bonds: list[Bond], spaces: Mapping[str, FusedSpace]) -> FusedSpace:
    base = BASES.get(product)
    if base is not None and base not in spaces:
        raise FreeBindError(
            f"{product} builds on {base}, which is not here",
            expected="the folder InternVL_IB_Proj beside the others",
        )
    return FusedSpace.of(*bonds, base=spaces[base] if base else None, name=product)


def families_to_released(space: FusedSpace) -> dict[str, dict[str, State]]:
    """Return a space in the released layout: family to folder to state dict.

    Raises:
        FreeBindError: A bond is none of the released families, or has other dimensions or members.
    """
    return {
        name: mixture_to_released(bond.variables, bond.members)  # type: ignore[arg-type]
        for stage in space.stages
        for name, bond in zip(map(_family_of, stage.bonds), stage.bonds, strict=True)
    }


def _family_of(bond: Bond) -> str:
    wanted = Family(bond.kind, bond.unified, bond.expert)
    for name, family in FAMILIES.items():
        if family == wanted:
            _require_dims(name, bond)
            return name
    raise FreeBindError(
        "the authors released no such bond",
        expected="; ".join(_described(family) for family in FAMILIES.values()),
        got=_described(wanted),
    )


def _described(family: Family) -> str:
    return f"{family.kind} of {family.expert} and {family.unified}"


def _require_dims(name: str, bond: Bond) -> None:
    found = {bond.unified: bond.dim("unified"), bond.expert: bond.dim("expert")}
    if found != (wanted := {space: DIMS[space] for space in found}):
        raise FreeBindError(
            "these are not the dimensions of the released layout",
            where=name,
            expected=_listed(wanted.items()),
            got=_listed(found.items()),
        )


def _listed(dims: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{space} {dim}" for space, dim in dims)
