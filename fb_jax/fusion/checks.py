"""Checks of what goes into a fused space: the rows, and the base of a later stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fb_jax.banks import to_numpy
from fb_jax.banks.directions import checked_unit_rows, require_floats
from fb_jax.errors import FreeBindError
from fb_jax.fusion.hubs import HubCorrection
from fb_jax.fusion.stage import Stage


def native_rows(
    modality: str, rows: Mapping[str, Any], dims: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Check the embeddings of some items of one modality and return them as unit rows.

    Args:
        modality: Name of the modality, for messages.
        rows: Native space to ``[n, d]`` floats of any norm: NumPy, JAX or torch. n may be 0.
        dims: Native space to dimension. The first must be there; the others may lack the items.

    Raises:
        FreeBindError: The first space is missing, another is unknown, an array has another shape
            or does not hold floats, or a row is NaN, infinite or zero.
    """
    arrays = {space: to_numpy(array, f"{modality} of {space}") for space, array in rows.items()}
    first, *others = dims
    if first not in arrays or not set(arrays) <= set(dims):
        raise FreeBindError(
            f"{modality} cannot be fused from the embeddings of these spaces",
            expected=first + (f", and those that there are of {', '.join(others)}" * bool(others)),
            got=", ".join(arrays) or "none",
        )
    counts = {array.shape[:1] for array in arrays.values()}
    for space, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != dims[space] or len(counts) > 1:
            raise FreeBindError(
                f"the {modality} rows of {space} have another shape",
                expected=f"[n, {dims[space]}], with the same n in every space",
                got=", ".join(f"{name} {list(other.shape)}" for name, other in arrays.items()),
            )
        require_floats(array, f"{modality} of {space}")
    fix = "leave these items out, in every space"
    return {s: checked_unit_rows(array, s, modality, fix) for s, array in arrays.items()}


def require_base(
    stage: Stage, name: str, modalities: Iterable[str], dim: int, dims: Mapping[str, int]
) -> None:
    """Raise a FreeBindError unless the unified space of a stage can be the space before it.

    Args:
        stage: The stage.
        name: Name of the space before it, or "".
        modalities: Its modalities.
        dim: Its dimension.
        dims: Its native spaces and their dimensions.
    """
    first = stage.bonds[0]
    own = first.spec.unified_modalities
    fits = first.dim("unified") == dim and set(own) <= set(modalities)
    if not fits or (name and name != first.unified):
        raise FreeBindError(
            "the base is not the unified space of these bonds",
            expected=_signature(first.unified, first.dim("unified"), own),
            got=_signature(name or "a space without a name", dim, modalities),
            fix="give the fused space whose rows these bonds were trained on",
        )
    for bond in stage.bonds:
        if dims.get(bond.expert, bond.dim("expert")) != bond.dim("expert"):
            raise FreeBindError(
                "the base has another space of this name",
                where=bond.expert,
                expected=f"{bond.dim('expert')} dimensions",
                got=f"{dims[bond.expert]} dimensions",
            )


def require_routers(
    stage: Stage, spaces: Mapping[str, Sequence[str]], dims: Mapping[str, int]
) -> None:
    """Raise a FreeBindError unless the routers of a stage read native spaces of their modality.

    Args:
        stage: The stage.
        spaces: Modality to the native spaces that it is fused from.
        dims: Native space to its dimension.
    """
    for modality, router in stage.routers.items():
        known = {name: dims[name] for name in spaces[modality]}
        reads = dict(zip(router.spec.inputs, router.spec.dims, strict=True))
        if not reads.items() <= known.items():
            raise FreeBindError(
                "a router reads other rows than this space has",
                where=f"{stage.title}: {modality}",
                expected=_dimensions(known),
                got=_dimensions(reads),
            )


def require_hubs(hubs: HubCorrection, modalities: Iterable[str], dim: int, where: str) -> None:
    """Raise a FreeBindError unless a hub correction is one of a space's plain rows.

    Args:
        hubs: The correction.
        modalities: Modalities of the space.
        dim: Dimension of its plain rows.
        where: Name of the space, for the message.
    """
    shapes = {modality: list(rows.shape) for modality, rows in hubs.references.items()}
    fits = all(len(shape) == 2 and shape[0] and shape[1] == dim for shape in shapes.values())
    if not fits or not shapes.keys() <= set(modalities):
        raise FreeBindError(
            "a hub correction belongs to another space",
            where=where,
            expected=f"references of {', '.join(modalities)}, {dim} columns each",
            got=", ".join(f"{modality} {shape}" for modality, shape in shapes.items()),
            fix="fit it on rows of this space",
        )


def _dimensions(spaces: Mapping[str, int]) -> str:
    return ", ".join(f"{name} with {dim} dimensions" for name, dim in spaces.items())


def _signature(name: str, dim: int, modalities: Iterable[str]) -> str:
    return f"{name}, {dim} dimensions, {', '.join(modalities)}"
