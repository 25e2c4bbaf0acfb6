"""Reads the sizes of towers from the shapes of a state dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class TowerSize:
    """Width of a tower's tokens, number of its blocks and heads, dimension of its embeddings."""

    width: int
    depth: int
    heads: int
    dim: int


HUGE = {
    "vision": TowerSize(width=1280, depth=32, heads=16, dim=1024),
    "text": TowerSize(width=1024, depth=24, heads=16, dim=1024),
    "audio": TowerSize(width=768, depth=12, heads=12, dim=1024),
}
"""Towers of the published ``imagebind_huge.pth``."""

TOY_HEAD_WIDTH = 16
"""Shapes do not show the number of heads. Towers of another width than the published ones are toys,
with heads of this width."""

_WIDTHS = {
    "vision": "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
    "text": "modality_preprocessors.text.pos_embed",
    "audio": "modality_preprocessors.audio.pos_embedding_helper.pos_embed",
}
_HEADS = {
    "vision": "modality_heads.vision.2.weight",
    "text": "modality_heads.text.proj.1.weight",
    "audio": "modality_heads.audio.2.weight",
}


def size_of(state: Mapping[str, torch.Tensor], name: str, where: Path) -> TowerSize:
    """Return the size of a tower that is in a state dict.

    Args:
        state: Key to tensor, as published.
        name: Name of the tower, a key of ``HUGE``.
        where: File of the state dict, for errors.

    Raises:
        FreeBindError: A key is missing or has another number of axes, or there is no ImageBind of
            this width and depth.
    """
    width = _shape(state, _WIDTHS[name], 3, where)[-1]
    depth = _depth(state, f"modality_trunks.{name}.blocks.")
    dim, huge = _shape(state, _HEADS[name], 2, where)[0], HUGE[name]
    if (width, depth) == (huge.width, huge.depth):
        return replace(huge, dim=dim)
    if width == huge.width or width % TOY_HEAD_WIDTH:
        raise FreeBindError(
            f"ImageBind has no such {name} tower",
            where=where,
            expected=f"{huge.depth} blocks of width {huge.width}",
            got=f"{depth} blocks of width {width}",
        )
    return TowerSize(width, depth, width // TOY_HEAD_WIDTH, dim)


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
