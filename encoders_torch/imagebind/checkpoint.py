"""From a checkpoint file to towers: every key in its place and none left over, or an error."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from encoders_torch.imagebind.sizes import sizes_of
from encoders_torch.imagebind.towers import Towers
from fb_jax.errors import FreeBindError

SUFFIXES = (".pth", ".pt", ".safetensors")
ROLES = ("preprocessors", "trunks", "heads", "postprocessors")
OTHERS = tuple(f"modality_{role}.{m}." for role in ROLES for m in ("depth", "thermal", "imu"))
SCALES = {f"modality_postprocessors.{m}.1.log_logit_scale" for m in ("text", "audio")}
"""Positive factors of whole embeddings: they do not turn them."""

SHOWN = 3


def load_towers(path: Path) -> Towers:
    """Load the vision, text and audio towers of a checkpoint, in float32, on the CPU.

    Towers of other modalities and the scales behind the heads are passed over; all other keys must
    be there, and no more.

    Args:
        path: Of a state dict, ``.pth``, ``.pt`` or ``.safetensors``; no code in it is run. Numbers
            in float32 are mapped from the file, not copied.

    Raises:
        FreeBindError: The file is unreadable, truncated, holds anything but tensors, lacks keys or
            has too many, or a shape differs.
    """
    state = read_state(path)
    with torch.device("meta"):
        towers = Towers(sizes_of(state, path))
    require_same(towers.state_dict(), state, path)
    towers.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return towers.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read what a checkpoint holds of the three towers, whatever its keys are; see above."""
    return of_towers(_read(path))


def of_towers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out other modalities and scales."""
    return {k: v for k, v in state.items() if not k.startswith(OTHERS) and k not in SCALES}


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    if path.suffix not in SUFFIXES:
        raise FreeBindError("weights of this kind are unknown", where=path, expected=SUFFIXES)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except Exception as error:  # torch.load raises nearly any kind
        # Only the first line of it: further ones advise to load without safeguards.
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise FreeBindError(
            "weights cannot be loaded: the file is damaged, or holds more than tensors",
            where=path,
            got=reason,
            fix="get the file again from its publisher",
        ) from error
    _require_tensors(state, path)
    return state


def _unpickle(path: Path) -> Any:
    mapped = zipfile.is_zipfile(path)  # torch's format before 1.6 is none and cannot be mapped
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _require_tensors(state: object, where: Path) -> None:
    if not isinstance(state, Mapping):
        got = type(state).__name__
    else:
        others = [k for k, v in state.items() if not isinstance(v, torch.Tensor)]
        if not others:
            return
        got = f"{others[0]}: {type(state[others[0]]).__name__}"
    raise FreeBindError("this is no state dict", where=where, expected="key: tensor", got=got)


def require_same(
    wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], where: Path
) -> None:
    """Raise a FreeBindError unless a checkpoint has exactly the keys and shapes of a model."""
    shapes = [
        f"{key} of shape {list(found[key].shape)} where {list(value.shape)} belongs"
        for key, value in wanted.items()
        if key in found and found[key].shape != value.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "surplus": sorted(found.keys() - wanted.keys()),
        "misshapen": shapes,
    }
    got = [
        f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{', ...' * (len(keys) > SHOWN)}"
        for kind, keys in problems.items()
        if keys
    ]
    if got:
        raise FreeBindError("these are not ImageBind's keys", where=where, got="; ".join(got))
