"""From items to rows: encoders of native spaces, given or found by entry point."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fb_jax.errors import FreeBindError, require_positive, unknown

ENTRY_POINTS = "freebind.encoders"
"""Group of entry points under which installed packages offer encoders by the name of a space."""


@runtime_checkable
class ItemEncoder(Protocol):
    """A frozen encoder of one native space."""

    def read(self, modality: str, item: str | Path) -> Any:
        """Read and prepare one item: a caption, or the path of a media file."""

    def encode(self, modality: str, batch: Sequence[Any]) -> Any:
        """Encode what ``read`` gave for some items: ``[b, d]`` rows of any norm."""


@cache
def find_encoder(space: str) -> ItemEncoder:
    """Make the encoder that an installed package offers for a native space, once a process.

    Raises:
        FreeBindError: None does.
    """
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if space not in known:
        raise unknown("encoder of", space, known, "pass one with with_encoders({space: encoder})")
    made: ItemEncoder = known[space].load()(weights=None, device="cpu")
    return made


def encoded(
    encoder: ItemEncoder, space: str, modality: str, items: Sequence[str | Path], batch: int
) -> np.ndarray:
    """Read and encode items, some at a time.

    Returns:
        ``[n, d]`` rows of any norm.

    Raises:
        FreeBindError: There is no item, or one cannot be read.
    """
    require_positive("embed", batch=batch)
    if isinstance(items, str) or not len(items):
        raise FreeBindError(
            "there is nothing to embed", expected="a list of captions or paths", got=repr(items)
        )
    blocks = [items[start : start + batch] for start in range(0, len(items), batch)]
    rows = [
        encoder.encode(modality, [_read(encoder, space, modality, item) for item in block])
        for block in blocks
    ]
    return np.concatenate([to_numpy(block) for block in rows])


def _read(encoder: ItemEncoder, space: str, modality: str, item: str | Path) -> Any:
    try:
        return encoder.read(modality, item)
    except Exception as error:
        raise FreeBindError(
            f"{space} cannot read this {modality}",
            where=item,
            got=f"{type(error).__name__}: {error}",
        ) from error


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of NumPy, JAX or torch (whose device and gradient are left) as NumPy's."""
    if hasattr(array, "detach"):  # torch, which need not be installed
        array = array.detach().cpu().float()  # NumPy knows no bfloat16
    return np.asarray(array)
