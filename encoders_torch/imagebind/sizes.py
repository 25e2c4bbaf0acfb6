"""Reads the sizes of the towers from the shapes of a state dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class TowerSize:
    """Width of a tower's tokens, number of its blocks, number of attention heads."""

    width: int
    depth: int
    heads: int


@dataclass(frozen=True)
class Sizes:
    """Sizes of the three towers, and the dimension of the embeddings."""

    vision: TowerSize
    text: TowerSize
    audio: TowerSize
    dim: int


HUGE = Sizes(
    vision=TowerSize(width=1280, depth=32, heads=16),
    text=TowerSize(width=1024, depth=24, heads=16),
    audio=TowerSize(width=768, depth=12, heads=12),
    dim=1024,
)
"""Sizes of the published ``imagebind_huge.pth``."""

TOY_HEAD_WIDTH = 16
"""Shapes do not show the number of heads. Towers of another width than the published ones are toys,
with heads of this width."""

_WIDTHS = {
    "vision": "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
    "text": "modality_preprocessors.text.pos_embed",
    "audio": "modality_preprocessors.audio.pos_embedding_helper.pos_embed",
}
_DIM = "modality_heads.vision.2.weight"


def sizes_of(state: Mapping[str, torch.Tensor], where: Path) -> Sizes:
    """Return the sizes of the towers that a state dict belongs to.

    Args:
        state: Key to tensor, as published.
        where: Its file, for errors.

    Raises:
        FreeBindError: A key is missing or has another number of axes, or there is no ImageBind of
            this width and depth.
    """
    return Sizes(
        vision=_tower(state, "vision", HUGE.vision, where),
        text=_tower(state, "text", HUGE.text, where),
        audio=_tower(state, "audio", HUGE.audio, where),
        dim=_shape(state, _DIM, 2, where)[0],
    )


def audio_sizes(state: Mapping[str, torch.Tensor], where: Path) -> Sizes:
    """Return the sizes for a state dict of an audio tower alone; the others are as published."""
    audio = _tower(state, "audio", HUGE.audio, where)
    return replace(
        HUGE, audio=audio, dim=_shape(state, "modality_heads.audio.2.weight", 2, where)[0]
    )


def _tower(state: Mapping[str, torch.Tensor], name: str, huge: TowerSize, where: Path) -> TowerSize:
    width = _shape(state, _WIDTHS[name], 3, where)[-1]
    depth = _depth(state, f"modality_trunks.{name}.blocks.")
    if width == huge.width and depth == huge.depth:
        return huge
    if width == huge.width or width % TOY_HEAD_WIDTH:
        raise FreeBindError(
            f"ImageBind has no such {name} tower",
            where=where,
            expected=f"{huge.depth} blocks of width {huge.width}",
            got=f"{depth} blocks of width {width}",
        )
    return TowerSize(width, depth, width // TOY_HEAD_WIDTH)


def _shape(state: Mapping[str, torch.Tensor], key: str, axes: int, where: Path) -> torch.Size:
    if key not in state or state[key].ndim != axes:
        raise FreeBindError(
            "this is no ImageBind checkpoint",
            where=where,
            expected=f"{key} with {axes} axes",
            got=f"shape {list(state[key].shape)}" if key in state else "no such key",
        )
    return state[key].shape


def _depth(keys: Iterable[str], prefix: str) -> int:
    numbers = (key[len(prefix) :].partition(".")[0] for key in keys if key.startswith(prefix))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
