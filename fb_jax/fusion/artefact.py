"""The folder that people keep of a fused space. Reading it needs no checkpoint code and no pickle.

    FOLDER/space.json            stages, bonds, factors, presets, spaces, licences, digests
    FOLDER/weights.safetensors   "STAGE.EXPERT.LAYER.NAME": numbers, leading axis of members;
                                 "STAGE.basis": what a direct sum is cut to
    FOLDER/README.md             the model card

It appears under its name whole, or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fb_jax.banks import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion.card import model_card
from fb_jax.fusion.fuse import weights_digest
from fb_jax.fusion.space import FusedSpace
from fb_jax.projector import Bond, Projector, Variables

FORMAT, VERSION = "freebind-space", 1
SPACE_FILE, WEIGHTS_FILE, CARD_FILE = "space.json", "weights.safetensors", "README.md"
PACKAGES = ("freebind-jax", "jax", "numpy", "safetensors")
AGAIN = "get the folder again from where it came"
LEAVES = {
    "linear": ("params", ("kernel",)),
    "norm": ("params", ("scale", "shift")),
    "running": ("batch_stats", ("mean", "var")),
}


def write_space(space: FusedSpace, path: Path, metrics: Mapping[str, Any] | None = None) -> None:
    """Write a space, which must have a name.

    Args:
        space: The fused space.
        path: Folder to make. If it holds this very space already, what it tells of licences and
            figures is renewed.
        metrics: Split to model to pair to figures, for the card; None keeps those that are there.

    Raises:
        FreeBindError: The folder holds something else, or cannot be written.
    """
    weights = safetensors.numpy.save(_tensors(space))
    metrics = _metrics(path) if metrics is None else metrics
    about = _signed(_about(space, weights, metrics))
    card = model_card(space, metrics).encode()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        _require_same(path, about)
        _tell(path, about, card)
        return
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files.write_atomic(partial / WEIGHTS_FILE, lambda file: file.write(weights))
    _tell(partial, about, card)
    _move(partial, path)


def _metrics(path: Path) -> Mapping[str, Any]:
    there = path / SPACE_FILE
    found = files.read_json(there) if there.is_file() else {}
    metrics: Mapping[str, Any] = found.get("metrics", {})
    return metrics


def _tell(folder: Path, about: dict[str, Any], card: bytes) -> None:
    files.write_atomic(folder / CARD_FILE, lambda file: file.write(card))
    files.write_json(folder / SPACE_FILE, about)


def _move(partial: Path, path: Path) -> None:
    try:
        partial.replace(path)  # an empty folder gives way
    except OSError as error:
        raise FreeBindError("a folder cannot get its name", where=path, got=error) from error


def _require_same(path: Path, about: dict[str, Any]) -> None:
    there = path / SPACE_FILE
    found = files.read_json(there) if there.is_file() else {}
    if any(found.get(part) != about[part] for part in ("stages", "weights")):
        raise FreeBindError(
            "this folder holds something else",
            where=path,
            expected="no folder of this name, or the same fused space",
            fix="choose another folder; delete this one only if you do not need what it holds",
        )


def _tensors(space: FusedSpace) -> dict[str, np.ndarray]:
    leaves = {
        f"{stage}.{bond.expert}.{name}": leaf
        for stage, fused in enumerate(space.stages)
        for bond in fused.bonds
        for name, leaf in _leaves(bond).items()
    }
    leaves |= {
        f"{stage}.basis": fused.basis
        for stage, fused in enumerate(space.stages)
        if fused.basis is not None
    }
    return {name: np.ascontiguousarray(leaf, np.float32) for name, leaf in leaves.items()}


def _leaves(bond: Bond) -> dict[str, Any]:
    """Return ``LAYER.NAME`` to numbers, leading axis members."""
    return {
        f"{layer}.{name}": leaf
        for collection in bond.variables
        for layer, leaves in collection.items()
        for name, leaf in leaves.items()
    }


def _about(space: FusedSpace, weights: bytes, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "spaces": {
            name: {
                "dim": dim,
                "modalities": space.modalities_of(name),
                "licence": space.licences.get(name, "unknown"),
            }
            for name, dim in space.dims.items()
        },
        "stages": [_stage(stage) for stage in space.stages],
        "digest": weights_digest(space),
        "weights": {"bytes": len(weights), "sha256": files.sha256_of_bytes(weights)},
        "metrics": metrics or {},
        "versions": {name: version(name) for name in PACKAGES},
    }


def _stage(space: FusedSpace) -> dict[str, Any]:
    return {
        "name": space.name,
        "factors": space.factors,
        "normalise": space.normalise,
        "given": space.given,
        "fill": space.fill,
        "cut": None if space.basis is None else space.basis.shape,
        "presets": space.presets,
        "bonds": [_bond(bond) for bond in space.bonds],
    }


def _bond(bond: Bond) -> dict[str, Any]:
    direction = bond.direction
    return {
        "kind": bond.kind,
        "unified": bond.unified,
        "expert": bond.expert,
        "shared": bond.shared,
        "modalities": bond.modalities,
        "members": bond.members,
        "dim_in": bond.dim(direction.source),
        "dim_out": bond.dim(direction.target),
        "hidden": bond.projector.hidden,
        "precision": bond.projector.precision,
    }


def _signed(about: dict[str, Any]) -> dict[str, Any]:
    """Return the content with a digest of itself: a flipped bit of a factor is noticed too."""
    plain = files.json_types(about)
    return {**plain, "sha256": files.sha256_of_json(plain)}


def read_space(path: Path) -> FusedSpace:
    """Read what ``write_space`` wrote.

    Raises:
        FreeBindError: It is not there, is damaged, or is of another version.
    """
    where = path / SPACE_FILE
    if not where.is_file():
        raise FreeBindError(
            "this is no fused space", where=path, expected=f"a folder with {SPACE_FILE}"
        )
    about = _checked(files.read_json(where), where)
    try:
        return _space(about, _read_weights(path / WEIGHTS_FILE, about["weights"]), path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FreeBindError(
            "this file tells of no fused space", where=where, got=repr(error)
        ) from error


def _checked(about: Any, where: Path) -> dict[str, Any]:
    """Return the content if it is of this version and whole."""
    found = about if isinstance(about, dict) else {}
    if (kind := (found.get("format"), found.get("version"))) != (FORMAT, VERSION):
        raise FreeBindError(
            "this fused space has another format",
            where=where,
            expected=f"{FORMAT}, version {VERSION}",
            got=f"{kind[0]}, version {kind[1]}",
            fix="read it with the release of freebind-jax that wrote it",
        )
    plain = {name: value for name, value in found.items() if name != "sha256"}
    if found.get("sha256") != (digest := files.sha256_of_json(plain)):
        raise FreeBindError(
            "this file was altered",
            where=where,
            expected=f"SHA-256 {found.get('sha256')}",
            got=digest,
            fix=f"{AGAIN}; other factors: load it, with_factors, save",
        )
    return plain


def _read_weights(path: Path, recorded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FreeBindError("a file cannot be read", where=path, got=error, fix=AGAIN) from error
    if files.sha256_of_bytes(content) != recorded["sha256"]:
        raise FreeBindError(
            "the weights were altered",
            where=path,
            expected=f"{recorded['bytes']} bytes, SHA-256 {recorded['sha256']}",
            got=f"{len(content)} bytes, another SHA-256",
            fix=AGAIN,
        )
    try:
        return safetensors.numpy.load(content)
    except SafetensorError as error:
        raise FreeBindError("the weights cannot be read", where=path, got=error) from error


def _space(about: dict[str, Any], tensors: dict[str, np.ndarray], path: Path) -> FusedSpace:
    licences = {s: d["licence"] for s, d in about["spaces"].items() if d["licence"] != "unknown"}
    space: FusedSpace | None = None
    for number, stage in enumerate(about["stages"]):
        bonds = [_read_bond(bond, tensors, number, path) for bond in stage["bonds"]]
        space = FusedSpace(
            bonds=tuple(bonds),
            factors=stage["factors"],
            normalise=stage["normalise"],
            base=space,
            name=stage["name"],
            given=stage["given"],
            fill=stage["fill"],
            basis=_read_basis(stage["cut"], tensors, number, path),
            presets=stage["presets"],
            licences=licences,
        )
    if space is None or tensors:
        raise ValueError(f"{len(about['stages'])} stages, and numbers of none: {list(tensors)}")
    return space


def _read_basis(
    cut: list[int] | None, tensors: dict[str, np.ndarray], stage: int, path: Path
) -> np.ndarray | None:
    return _take(tensors, f"{stage}.basis", tuple(cut), path) if cut else None


def _read_bond(
    about: dict[str, Any], tensors: dict[str, np.ndarray], stage: int, path: Path
) -> Bond:
    """Make a bond, taking its numbers out of ``tensors``."""
    prefix, members = f"{stage}.{about['expert']}", about["members"]
    widths = {"in": (about["dim_in"], about["hidden"]), "out": (about["hidden"], about["dim_out"])}
    collections: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for place, (rows, columns) in widths.items():
        for part, (collection, names) in LEAVES.items():
            layer = f"{'norm' if part == 'running' else part}_{place}"
            shape = (len(members), rows, columns) if part == "linear" else (len(members), columns)
            made = collections[collection].setdefault(layer, {})
            for name in names:
                made[name] = _take(tensors, f"{prefix}.{layer}.{name}", shape, path)
    return Bond(
        kind=about["kind"],
        unified=about["unified"],
        expert=about["expert"],
        shared=tuple(about["shared"]),
        modalities=tuple(about["modalities"]),
        members=tuple(tuple(member) for member in members),
        projector=Projector(about["dim_out"], about["hidden"], about["precision"]),
        variables=Variables(**collections),
    )


def _take(
    tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    found = tensors.pop(name, None)
    if found is None or found.shape != shape or found.dtype != np.float32:
        raise FreeBindError(
            "the weights are not those that this space needs",
            where=f"{path / WEIGHTS_FILE}: {name}",
            expected=f"float32 {list(shape)}",
            got="nothing" if found is None else f"{found.dtype} {list(found.shape)}",
            fix=AGAIN,
        )
    return found
