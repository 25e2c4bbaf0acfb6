"""Loads towers from a checkpoint file. Every key must be known, and none may be missing."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from encoders_torch.imagebind.sizes import TowerSize, size_of
from encoders_torch.imagebind.towers import TOWERS, Tower
from encoders_torch.tensor_files import read_state
from fb_jax.errors import FreeBindError

SUFFIXES = (".pth", ".pt", ".safetensors")
ROLES = ("preprocessors", "trunks", "heads", "postprocessors")
OTHERS = tuple(f"modality_{role}.{m}." for role in ROLES for m in ("depth", "thermal", "imu"))
SCALES = {f"modality_postprocessors.{m}.1.log_logit_scale" for m in ("text", "audio")}
"""Positive factors of whole embeddings; they do not change a direction."""

SHOWN = 3


class Checkpoint:
    """A checkpoint of the three towers, which are loaded one by one.

    Towers of other modalities and the scales after the heads are ignored.

    Args:
        path: A state dict: ``.pth``, ``.pt`` or ``.safetensors``. Its numbers are mapped from the
            file, and read when a tower needs them.

    Attributes:
        state: Key to tensor, in the file's dtypes.
        sizes: Name of a tower to its size.
        dim: Dimensions of the embeddings.

    Raises:
        FreeBindError: The file cannot be read, lacks keys, has unknown ones, or a shape differs.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in SUFFIXES:
            raise FreeBindError(
                "weights of this kind are unknown",
                where=path,
                expected=f"a file that ends in {', '.join(SUFFIXES)}",
                fix="give the file as it was published, imagebind_huge.pth",
            )
        self.path, self.state = path, of_towers(read_state(path))
        self.dim = size_of(self.state, "vision", path).dim
        self.sizes = {n: replace(size_of(self.state, n, path), dim=self.dim) for n in TOWERS}
        towers = [_without_memory(name, size) for name, size in self.sizes.items()]
        require_same(ChainMap(*(tower.state_dict() for tower in towers)), self.state, path)

    def tower(self, name: str) -> nn.Module:
        """Return a tower, in float32, on the CPU. Float32 numbers are not copied."""
        return _filled(_without_memory(name, self.sizes[name]), self.state)


def load_audio(state: Mapping[str, torch.Tensor], where: Path) -> Tower:
    """Return the tower of a state dict that has only audio, float32.

    Raises:
        FreeBindError: Its keys or shapes are not those of ImageBind's audio tower.
    """
    tower = _without_memory("audio", size_of(state, "audio", where))
    require_same(tower.state_dict(), state, where)
    return _filled(tower, state)


def _without_memory(name: str, size: TowerSize) -> Tower:
    """Return a tower that has shapes but no numbers."""
    with torch.device("meta"):
        return TOWERS[name](size)


def _filled(tower: Tower, state: Mapping[str, torch.Tensor]) -> Tower:
    weights = {key: state[key].float() for key in tower.state_dict()}
    tower.load_state_dict(weights, assign=True)
    return tower


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
