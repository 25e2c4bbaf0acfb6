"""The folder in which people keep a fused space. No pickle, and no checkpoint code to read it.

    FOLDER/space.json            stages, bonds, factors, presets, spaces, licences, digests
    FOLDER/weights.safetensors   "STAGE.EXPERT.LAYER.NAME": numbers, leading axis of members;
                                 "STAGE.basis": the directions that a direct sum is cut to
    FOLDER/README.md             the model card

The folder appears complete under its name, or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion.card import model_card
from fb_jax.fusion.layout import AGAIN, digest, read_stage, stage_json, stage_tensors
from fb_jax.fusion.space import FusedSpace

FORMAT, VERSION = "freebind-space", 1
SPACE_FILE, WEIGHTS_FILE, CARD_FILE = "space.json", "weights.safetensors", "README.md"
PACKAGES = ("freebind-jax", "jax", "numpy", "safetensors")


def write_space(
    space: FusedSpace,
    path: Path | str,
    name: str = "",
    *,
    licences: Mapping[str, str] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write a space to a folder that ``read_space`` reads; also ``FusedSpace.save``.

    Args:
        space: The fused space.
        path: Folder to create. If it holds this very space already, licences and figures in it are
            replaced.
        name: Name of the space; its own name or title by default.
        licences: Native space to the licence of its encoder, in addition to those known.
        metrics: Split to model to pair to figures, for the card; None keeps those that are there.

    Raises:
        FreeBindError: The folder holds something else, or cannot be written.
    """
    path = Path(path)
    space = space.named(name or space.title)
    space = replace(space, licences={**space.licences, **(licences or {})})
    _require_trained(space)
    weights = safetensors.numpy.save(_tensors(space))
    figures = {split: dict(models) for split, models in (metrics or {}).items()}
    about = _about(space, weights, figures)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        recorded = _require_same(path, space, about["weights"])
        kept = {"metrics": recorded["metrics"]} if metrics is None else {}
        _describe(path, space, about | kept)
        return
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files.write_atomic(partial / WEIGHTS_FILE, lambda file: file.write(weights))
    _describe(partial, space, about)
    try:
        partial.replace(path)  # also an empty folder
    except OSError as error:
        raise FreeBindError("a folder cannot get its name", where=path, got=error) from error


def _require_trained(space: FusedSpace) -> None:
    for bond in (bond for stage in space.stages for bond in stage.bonds):
        if bond.variables is None:
            raise FreeBindError("a bond must be trained before it is saved", where=bond.expert)


def _describe(folder: Path, space: FusedSpace, about: dict[str, Any]) -> None:
    card = model_card(space, about["metrics"]).encode()
    files.write_atomic(folder / CARD_FILE, lambda file: file.write(card))
    files.write_json(folder / SPACE_FILE, _signed(about))


def _require_same(path: Path, space: FusedSpace, weights: dict[str, Any]) -> dict[str, Any]:
    """Return the space.json of a folder that holds this very space."""
    there = path / SPACE_FILE
    recorded: Any = files.read_json(there) if there.is_file() else None
    same = isinstance(recorded, dict) and recorded.get("weights") == weights
    if not same or replace(read_space(path), licences=space.licences) != space:
        raise FreeBindError(
            "this folder holds something else",
            where=path,
            expected="no folder of this name, or the same fused space",
            fix="choose another folder; delete this one only if you do not need what it holds",
        )
    return dict(recorded)


def _sealed(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}


def _tensors(space: FusedSpace) -> dict[str, np.ndarray]:
    return {
        f"{number}.{name}": leaf
        for number, stage in enumerate(space.stages)
        for name, leaf in stage_tensors(stage).items()
    }


def _about(space: FusedSpace, weights: bytes, metrics: Mapping[str, Any]) -> dict[str, Any]:
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
        "stages": [stage_json(stage) for stage in space.stages],
        "digest": digest(space),
        "weights": _sealed(weights),
        "metrics": metrics,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _signed(about: dict[str, Any]) -> dict[str, Any]:
    """Return the content with a digest of itself: a flipped bit in a factor is noticed too."""
    return {**about, "sha256": files.sha256_of_json(about)}


def read_space(path: Path | str) -> FusedSpace:
    """Read what ``write_space`` wrote; also ``FusedSpace.load``.

    Raises:
        FreeBindError: It is not there, is damaged, or is of another version.
    """
    path = Path(path)
    where = path / SPACE_FILE
    if not where.is_file():
        raise FreeBindError("not a fused space", where=path, expected=f"a folder with {SPACE_FILE}")
    about = _checked(files.read_json(where), where)
    try:
        return _space(about, _read_weights(path / WEIGHTS_FILE, about["weights"]), path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FreeBindError(
            "not the description of a fused space", where=where, got=repr(error)
        ) from error


def _checked(about: Any, where: Path) -> dict[str, Any]:
    """Return the content if it is of this version and unaltered."""
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
        if (found := _sealed(content)) != recorded:
            raise FreeBindError(
                "the weights were altered", where=path, expected=recorded, got=found, fix=AGAIN
            )
        return safetensors.numpy.load(content)
    except (OSError, SafetensorError) as error:
        raise FreeBindError("a file cannot be read", where=path, got=error, fix=AGAIN) from error


def _space(about: dict[str, Any], tensors: dict[str, np.ndarray], path: Path) -> FusedSpace:
    licences = {s: d["licence"] for s, d in about["spaces"].items() if d["licence"] != "unknown"}
    stages = [
        read_stage(stage, tensors, number, path / WEIGHTS_FILE)
        for number, stage in enumerate(about["stages"])
    ]
    if not stages or tensors:
        raise ValueError(f"{len(stages)} stages, and numbers that belong to none: {list(tensors)}")
    return FusedSpace(tuple(stages), licences)


FusedSpace.save = write_space
FusedSpace.load = staticmethod(read_space)
