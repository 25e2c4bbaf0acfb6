"""Loads a checkpoint file into towers. Every key must be known, and none may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from encoders_torch.imagebind.sizes import audio_sizes, sizes_of
from encoders_torch.imagebind.towers import AudioTrunk, Towers
from encoders_torch.tensor_files import read_state
from fb_jax.errors import FreeBindError

SUFFIXES = (".pth", ".pt", ".safetensors")
ROLES = ("preprocessors", "trunks", "heads", "postprocessors")
OTHERS = tuple(f"modality_{role}.{m}." for role in ROLES for m in ("depth", "thermal", "imu"))
SCALES = {f"modality_postprocessors.{m}.1.log_logit_scale" for m in ("text", "audio")}
"""Positive factors of whole embeddings; they do not change a direction."""

SHOWN = 3


def load_towers(path: Path) -> Towers:
    """Load the vision, text and audio towers of a checkpoint, in float32, on the CPU.

    Towers of other modalities and the scales after the heads are ignored.

    Args:
        path: A state dict: ``.pth``, ``.pt`` or ``.safetensors``. Float32 numbers are mapped from
            the file, not copied.

    Raises:
        FreeBindError: The file cannot be read, lacks keys, has unknown ones, or a shape differs.
    """
    state = read_towers(path)
    with torch.device("meta"):
        towers = Towers(sizes_of(state, path))
    require_same(towers.state_dict(), state, path)
    towers.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return towers.eval().requires_grad_(False)


def load_trunk(state: Mapping[str, torch.Tensor], where: Path) -> AudioTrunk:
    """Return the audio tower of a state dict, float32.

    Raises:
        FreeBindError: Its keys or shapes are not those of ImageBind's audio tower.
    """
    with torch.device("meta"):  # no other tower takes memory
        trunk = AudioTrunk(Towers(audio_sizes(state, where)))
    require_same(trunk.state_dict(), state, where)
    trunk.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return trunk


def read_towers(path: Path) -> dict[str, torch.Tensor]:
    """Read the state dict of a checkpoint's three towers; its keys are not checked."""
    if path.suffix not in SUFFIXES:
        raise FreeBindError("weights of this kind are unknown", where=path, expected=SUFFIXES)
    return of_towers(read_state(path))


def of_towers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out other modalities and scales."""
    return {k: v for k, v in state.items() if not k.startswith(OTHERS) and k not in SCALES}


def require_same(
    wanted: Mapping[str, torch.Tensor], here: Mapping[str, torch.Tensor], where: Path
) -> None:
    """Raise a FreeBindError unless a checkpoint has exactly the keys and shapes of a model."""
    shapes = [
        f"{key} of shape {list(here[key].shape)} instead of {list(value.shape)}"
        for key, value in wanted.items()
        if key in here and here[key].shape != value.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - here.keys()),
        "surplus": sorted(here.keys() - wanted.keys()),
        "misshapen": shapes,
    }
    got = [
        f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{', ...' * (len(keys) > SHOWN)}"
        for kind, keys in problems.items()
        if keys
    ]
    if got:
        raise FreeBindError("these are not ImageBind's keys", where=where, got="; ".join(got))
