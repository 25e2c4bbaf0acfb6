"""Released checkpoints as fused spaces, and fused spaces as such checkpoints [C].

Those of FreeBind, and of its rivals C-MCR (arXiv 2305.14381) and Ex-MCR (arXiv 2310.08884).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
from flax.traverse_util import flatten_dict

from fb_jax.errors import FreeBindError
from fb_jax.fusion.space import FusedSpace
from fb_jax.projector import Bond, BondKind, BondSpec, End, Variables
from fb_jax.projector.layouts import CMCR, CMCR_HALF, EXMCR, FREEBIND, Layout
from fb_jax.projector.released import State, mixture_from_released, mixture_to_released

ALL = ("text", "image", "audio")
SPACES: Mapping[str, End] = {
    name: End(name, modalities, dim)
    for name, modalities, dim in (
        ("imagebind", ALL, 1024),
        ("internvl", ("text", "image"), 768),
        ("clap_general", ("text", "audio"), 512),
        ("clap_music", ("text", "audio"), 512),
        ("internvl_ib", ALL, 768),
        ("internvl_ib_tuned", ALL, 768),
        ("clip", ("text", "image"), 512),
        ("clap", ("text", "audio"), 512),
        ("ulip", ("image", "points"), 512),
    )
}
"""Space to its name, modalities and dimension."""


class Family(NamedTuple):
    """The bond of a released folder of seven projectors, or of a file.

    Attributes:
        kind: Direction of the bond.
        unified: Name of the unified space.
        expert: Name of the expert.
        layout: Layout of its projectors.
    """

    kind: BondKind
    unified: str
    expert: str
    layout: Layout = FREEBIND


FAMILIES: Mapping[str, Family] = {
    "IB_PP_G_Proj": Family("combination", "imagebind", "clap_general"),
    "IB_PP_M_Proj": Family("combination", "imagebind", "clap_music"),
    "InternVL_IB_Proj": Family("displacement", "imagebind", "internvl"),
    "InternVL_IB_PP_G_Proj": Family("combination", "internvl_ib", "clap_general"),
    "InternVL_IB_PP_M_Proj": Family("combination", "internvl_ib", "clap_music"),
    "InternVL_IB_FTPP_G_Proj": Family("combination", "internvl_ib_tuned", "clap_general"),
    "InternVL_IB_FTPP_M_Proj": Family("combination", "internvl_ib_tuned", "clap_music"),
    "clap_clip": Family("cmcr", "clip", "clap", CMCR),
    "ulip_clip": Family("cmcr", "clip", "ulip", CMCR_HALF),
    "ex_clap": Family("exmcr", "clip", "clap", EXMCR),
    "ex_ulip": Family("exmcr", "clip", "ulip", EXMCR),
}
"""Folder, or file without its suffix, to family: FreeBind's, then C-MCR's and Ex-MCR's."""

PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "imagebind_pp": ("IB_PP_M_Proj", "IB_PP_G_Proj"),
    "internvl_ib": ("InternVL_IB_Proj",),
    "internvl_ib_pp": ("InternVL_IB_PP_M_Proj", "InternVL_IB_PP_G_Proj"),
    "internvl_ib_tuned_pp": ("InternVL_IB_FTPP_M_Proj", "InternVL_IB_FTPP_G_Proj"),
    "cmcr_clap": ("clap_clip",),
    "cmcr_ulip": ("ulip_clip",),
    "exmcr": ("ex_clap", "ex_ulip"),
}
"""Product to the families in its last stage (Table 2), and the rivals of Table 3."""

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
        states: Name of a member, see ``Layout.names``, to its state dict.

    Raises:
        FreeBindError: See ``mixture_from_released``; or its spaces have other dimensions.
    """
    family = FAMILIES[name]
    variables = mixture_from_released(states, name, family.layout)
    return Bond(_spec(name, variables), variables)


def _spec(name: str, variables: Variables) -> BondSpec:
    """Return the description of a family's bond.

    Raises:
        FreeBindError: Numbers have other shapes than the dimensions of the spaces give them.
    """
    family, found = FAMILIES[name], _shapes(variables)
    hidden = next(shape for key, shape in found.items() if key.endswith("linear_in.kernel"))[-1]
    spec = BondSpec.between(family.kind, SPACES[family.unified], SPACES[family.expert], hidden)
    for key, shape in _shapes(jax.eval_shape(spec.init, jax.random.key(0))).items():
        if found.get(key) != shape:
            raise FreeBindError(
                "these are not the dimensions of the released layout",
                where=f"{name}: {key}",
                expected=list(shape),
                got=list(found.get(key, ())),
            )
    return spec


def _shapes(variables: Variables) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of one member."""
    params = flatten_dict(variables.params, sep=".")
    return {key: leaf.shape[1:] for key, leaf in params.items()}


def products_from_released(
    families: Mapping[str, Mapping[str, State]], licences: Mapping[str, str] | None = None
) -> dict[str, FusedSpace]:
    """Return the products that some released families give, at their first preset.

    Args:
        families: Family to name of a member to state dict.
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
    """Return a space in the released layout: family to name of a member to state dict.

    Raises:
        FreeBindError: A bond is none of the released families, or has other dimensions or members.
    """
    return {
        name: mixture_to_released(bond.variables, bond.members, FAMILIES[name].layout)  # type: ignore[arg-type]
        for stage in space.stages
        for name, bond in zip(map(_family_of, stage.bonds), stage.bonds, strict=True)
    }


def _family_of(bond: Bond) -> str:
    wanted = bond.kind, bond.unified, bond.expert
    for name, family in FAMILIES.items():
        if family[:3] == wanted:
            _spec(name, bond.variables)  # type: ignore[arg-type]
            return name
    raise FreeBindError(
        "the authors released no such bond",
        expected="; ".join(_described(*family[:3]) for family in FAMILIES.values()),
        got=_described(*wanted),
    )


def _described(kind: str, unified: str, expert: str) -> str:
    return f"{kind} of {expert} and {unified}"
