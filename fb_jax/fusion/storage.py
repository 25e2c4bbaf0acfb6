"""The folder in which people keep a fused space. No pickle, and no checkpoint code to read it.

    FOLDER/space.json            stages, bonds, factors, presets, spaces, licences, digests
    FOLDER/weights.safetensors   "STAGE.EXPERT.LAYER.NAME": numbers, leading axis of members;
                                 "STAGE.basis": the directions that a direct sum is cut to
    FOLDER/hubs-DIGEST.safetensors    references of the hub correction, if there is one
    FOLDER/README.md             the model card

Files for other programs may lie beside them (``fb_jax.interop``). The folder appears complete
under its name, or not at all.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.numpy
from msgspec import Meta

from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.files.kinds import Count, Sha256
from fb_jax.fusion.card import MODULES_FILE, Figures, model_card
from fb_jax.fusion.hub_files import HubsAbout, packed, read_hubs, remove_others
from fb_jax.fusion.layout import AGAIN, StageAbout, digest, read_stage, stage_json, stage_tensors
from fb_jax.fusion.space import FusedSpace

FORMAT, VERSION = "freebind-space", 1
SPACE_FILE, WEIGHTS_FILE, CARD_FILE = "space.json", "weights.safetensors", "README.md"
PACKAGES = ("freebind-jax", "jax", "numpy", "safetensors")


@dataclass(frozen=True)
class _Content:
    """Size and digest of a file."""

    bytes: Count
    sha256: Sha256


def _content(content: bytes) -> _Content:
    return _Content(len(content), files.sha256_of_bytes(content))


@dataclass(frozen=True)
class _Space:
    """A native space."""

    licence: str
    encoder: str = ""


@dataclass(frozen=True)
class _About:
    """What is read of space.json."""

    spaces: dict[str, _Space]
    stages: Annotated[list[StageAbout], Meta(min_length=1)]
    weights: _Content
    metrics: dict[str, Figures]
    card: _Content | None = None
    hubs: HubsAbout | None = None


def write_space(
    space: FusedSpace,
    path: Path | str,
    name: str = "",
    *,
    licences: Mapping[str, str] | None = None,
    metrics: Mapping[str, Any] | None = None,
    other_factors: bool = False,
    encoders: Mapping[str, str] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write a space to a folder that ``read_space`` reads; also ``FusedSpace.save``.

    Args:
        space: The fused space.
        path: Folder to create. If it holds this very space already, licences, encoders and figures
            in it are replaced.
        name: Name of the space; its own name or title by default.
        licences: Native space to the licence of its encoder, in addition to those known.
        metrics: Split to model to pair to figures, for the card; None keeps those that are there.
        other_factors: Also replace a space whose last stage has other factors, presets or routers.
        encoders: Native space to the name of its encoder, in addition to those known.
        beside: Files to write beside, name to content.

    Raises:
        FreeBindError: The folder holds something else, or cannot be written.
    """
    path = Path(path)
    space = _with_known(space.named(name or space.title), licences or {}, encoders or {})
    _require_trained(space)
    weights = safetensors.numpy.save(_tensors(space))
    with files.locked(path.absolute().parent, wait=True, name=""):
        if other_factors and _rerouted(path, space):
            shutil.rmtree(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            recorded = _require_same(path, space, weights, other_factors)
            _tell_converted(path, space)
            figures = recorded.metrics if metrics is None else metrics
            _describe(path, space, _about(space, weights, figures), beside or {})
        else:
            about = _about(space, weights, metrics or {})
            contents = {WEIGHTS_FILE: weights, **(beside or {})}
            fill = lambda folder: _describe(folder, space, about, contents)  # noqa: E731
            files.write_folder(path, fill, "a fused space")


def _with_known(
    space: FusedSpace, licences: Mapping[str, str], encoders: Mapping[str, str]
) -> FusedSpace:
    for name in {**licences, **encoders}:
        if name not in space.dims:
            raise unknown("native space", name, space.dims, space.title)
    return replace(
        space,
        licences={**space.licences, **licences},
        encoders={**space.encoders, **encoders},
    )


def _require_trained(space: FusedSpace) -> None:
    for bond in (bond for stage in space.stages for bond in stage.bonds):
        if bond.variables is None:
            raise FreeBindError("a bond must be trained before it is saved", where=bond.expert)


def _describe(
    folder: Path, space: FusedSpace, about: dict[str, Any], contents: Mapping[str, bytes]
) -> None:
    """Write files and, last, the card and the description."""
    hubs, references = packed(space.hubs)
    for name, content in {**contents, **references}.items():
        _put(folder / name, content)
    modules = (folder / MODULES_FILE).exists()
    card = model_card(space, about["metrics"], modules=modules).encode()
    _put(folder / CARD_FILE, card)
    files.write_json(folder / SPACE_FILE, about | hubs | {"card": asdict(_content(card))})
    remove_others(folder, references)


def _put(path: Path, content: bytes) -> None:
    files.write_atomic(path, lambda file: file.write(content))


def _require_same(path: Path, space: FusedSpace, weights: bytes, other_factors: bool) -> _About:
    """Return the description of a folder that holds this very space, or at other factors."""
    about = None
    with contextlib.suppress(FreeBindError):
        about = _read_about(path)
    same = about is not None and about.weights == _content(weights)
    if about is None or not same or not _equal(read_space(path), space, other_factors):
        raise FreeBindError(
            "this folder holds something else",
            where=path,
            expected="no folder of this name, or the same fused space",
            fix="choose another folder; delete this one only if you do not need what it holds",
        )
    return about


def _rerouted(path: Path, space: FusedSpace) -> bool:
    """Return whether a folder holds this space with routers of other factors."""
    with contextlib.suppress(FreeBindError):
        found = read_space(path)
        own, bare = (one.with_last(replace(one.last, routers={})) for one in (found, space))
        return _equal(own, bare, True) and found.last.routers != space.last.routers
    return False


def _tell_converted(path: Path, space: FusedSpace) -> None:
    """Name the files that freebind convert wrote of a space that is another by now."""
    converted = sorted(file.name for file in path.glob("*.onnx"))
    if converted and not _equal(read_space(path), space, other_factors=False):
        names = ", ".join(converted)
        notice_once(f"{path}: {names}: the space of an earlier time; freebind convert again")


def _equal(found: FusedSpace, space: FusedSpace, other_factors: bool) -> bool:
    same_stage = type(found.last) is type(space.last) and found.weighted == space.weighted
    if other_factors and same_stage:
        at = {"factors": space.factors, "presets": space.last.presets}
        found = replace(found.with_last(replace(found.last, **at)), hubs=space.hubs)
    return replace(found, licences=space.licences, encoders=space.encoders) == space


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
                **({"encoder": space.encoders[name]} if name in space.encoders else {}),
            }
            for name, dim in space.dims.items()
        },
        "dim": space.dim,
        "presets": space.presets,
        "stages": [stage_json(stage) for stage in space.stages],
        "digest": digest(space.plain),  # the correction has one of its own
        "weights": asdict(_content(weights)),
        "metrics": {split: dict(models) for split, models in metrics.items()},
        "versions": {name: version(name) for name in PACKAGES},
    }


def read_space(path: Path | str) -> FusedSpace:
    """Read what ``write_space`` wrote; also ``FusedSpace.load``.

    Raises:
        FreeBindError: It is not there, is damaged, or is of another version.
    """
    path = Path(path)
    about = _read_about(path)
    tensors = _read_weights(path / WEIGHTS_FILE, about.weights)
    with files.explained("not the description of a fused space", path / SPACE_FILE, AGAIN):
        stages = [
            read_stage(stage, tensors, number, path / WEIGHTS_FILE)
            for number, stage in enumerate(about.stages)
        ]
    if tensors:
        raise FreeBindError(
            "numbers belong to no stage of a fused space",
            where=path,
            got=", ".join(tensors),
            fix=AGAIN,
        )
    _check_card(path / CARD_FILE, about.card)
    licences = {name: space.licence for name, space in about.spaces.items()}
    return FusedSpace(
        tuple(stages),
        {name: text for name, text in licences.items() if text != "unknown"},
        {name: space.encoder for name, space in about.spaces.items() if space.encoder},
        read_hubs(path, about.hubs),
    )


def read_metrics(path: Path | str) -> dict[str, Figures]:
    """Return the figures of the card: split to model to pair to metric to value.

    Raises:
        FreeBindError: It is no folder of a fused space.
    """
    return _read_about(Path(path)).metrics


def _read_about(path: Path) -> _About:
    where = path / SPACE_FILE
    if not where.is_file():
        inside, expected = path / "space", f"a folder with {SPACE_FILE}"
        fix = f"its fused space is {inside}" if (inside / SPACE_FILE).is_file() else None
        raise FreeBindError("not a fused space", where=path, expected=expected, fix=fix)
    fix = "read it with the release of freebind-jax that wrote it"
    about = files.read_versioned(where, (FORMAT, VERSION), "this fused space", fix)
    return files.convert(about, _About, where, "not the description of a fused space")


def _read_weights(path: Path, recorded: _Content) -> dict[str, np.ndarray]:
    content = files.read_bytes(path, recorded.bytes, "the file of weights")
    if (found := _content(content)) != recorded:
        raise FreeBindError(
            "the weights were altered", where=path, expected=recorded, got=found, fix=AGAIN
        )
    with files.explained("the weights cannot be read", path, AGAIN):
        tensors: dict[str, np.ndarray] = safetensors.numpy.load(content)
    return tensors


def _check_card(path: Path, recorded: _Content | None) -> None:
    """Say so if the model card is not the one that was written; people may edit it."""
    if recorded is None or not path.exists():
        return
    if _content(files.read_bytes(path, 1 << 24)) != recorded:
        notice_once(f"{path}: this model card was edited; its figures may be others than recorded")


FusedSpace.save = write_space
FusedSpace.load = staticmethod(read_space)
