"""The authors' released checkpoints as fused spaces, and fused spaces as such checkpoints [C]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fb_jax.errors import FreeBindError
from fb_jax.fusion.presets import presets_for
from fb_jax.fusion.space import FusedSpace
from fb_jax.projector import Bond, BondKind, Projector
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


@dataclass(frozen=True)
class Family:
    """What a released folder of seven projectors is.

    Attributes:
        kind: Direction of the bond.
        unified: Name of its unified space.
        expert: Name of its expert.
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
"""Product to the families of its last stage (Table 2)."""

BASES: Mapping[str, str] = {
    "internvl_ib_pp": "internvl_ib",
    "internvl_ib_tuned_pp": "internvl_ib_tuned",
}
"""Product to the product that is its base."""

TUNED = "internvl_ib_tuned"
GIVEN: Mapping[str, str] = {"audio": "imagebind_tuned"}
"""The product that is ``internvl_ib`` but for its audio: the tuned encoder's rows, as they come."""


def bond_from_released(name: str, states: Mapping[str, State]) -> Bond:
    """Return the bond of a released family.

    Args:
        name: Of the family.
        states: Folder of a member to its state dict.

    Raises:
        FreeBindError: See ``mixture_from_released``; or its spaces have other dimensions.
    """
    family, variables = FAMILIES[name], mixture_from_released(states, name)
    kernels = [variables.params[f"linear_{place}"]["kernel"] for place in ("in", "out")]
    bond = Bond(
        kind=family.kind,
        unified=family.unified,
        expert=family.expert,
        shared=SHARED[family.expert],
        modalities=MODALITIES,
        members=tuple(FOLDERS),
        projector=Projector(dim=kernels[1].shape[2], hidden=kernels[0].shape[2]),
        variables=variables,
    )
    _require_dims(name, bond)
    return bond


def products_from_released(
    families: Mapping[str, Mapping[str, State]], licences: Mapping[str, str] | None = None
) -> dict[str, FusedSpace]:
    """Return the products of Table 2 that some released families give, at their first preset.

    Args:
        families: Name to folder of a member to state dict.
        licences: Native space to licence.

    Returns:
        Product to fused space; one with a family of its two missing has one expert. With
        ``internvl_ib`` comes that of the tuned encoder.

    Raises:
        FreeBindError: See ``bond_from_released``; or the family of a base is missing.
    """
    bonds = {name: bond_from_released(name, states) for name, states in families.items()}
    made: dict[str, FusedSpace] = {}
    for product, names in PRODUCTS.items():
        if own := [bonds[name] for name in names if name in bonds]:
            made[product] = _product(product, own, made, licences or {})
        if product == "internvl_ib" and product in made:
            tuned = replace(made[product], name=TUNED, given=GIVEN)
            made[TUNED] = replace(tuned, licences=_known(tuned, licences or {}))
    return made


def _product(
    product: str, bonds: list[Bond], made: Mapping[str, FusedSpace], licences: Mapping[str, str]
) -> FusedSpace:
    base = BASES.get(product)
    if base is not None and base not in made:
        raise FreeBindError(
            f"{product} builds on {base}, which is not here",
            expected="the folder InternVL_IB_Proj beside the others",
        )
    space = FusedSpace.halfway(*bonds, base=made[base] if base else None)
    at = space.at(next(iter(presets_for(space))))
    return replace(at, name=product, licences=_known(at, licences))


def _known(space: FusedSpace, licences: Mapping[str, str]) -> dict[str, str]:
    return {native: licences[native] for native in space.dims if native in licences}


def families_to_released(space: FusedSpace) -> dict[str, dict[str, State]]:
    """Return a space in the released layout: family to folder to state dict.

    Raises:
        FreeBindError: A bond is none of the released families, or has other dimensions or members.
    """
    return {
        name: mixture_to_released(bond.variables, bond.members)
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
        expected="; ".join(_told(family) for family in FAMILIES.values()),
        got=_told(wanted),
    )


def _told(family: Family) -> str:
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
