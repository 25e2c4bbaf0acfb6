"""From items to fused rows: a fused space with the encoders of its native spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from fb_jax.banks import to_numpy
from fb_jax.banks.directions import require_matrix
from fb_jax.errors import FreeBindError, require_range, unknown
from fb_jax.fusion.hubs import Role
from fb_jax.fusion.space import FusedSpace
from fb_jax.numerics import Precision, platform

ENTRY_POINTS = "freebind.encoders"
"""Group of entry points in which installed packages offer encoders, by the name of the space."""


@runtime_checkable
class ItemEncoder(Protocol):
    """A frozen encoder of one native space, such as any of ``encoders_torch``."""

    def read(self, modality: str, item: str | Path) -> Any:
        """Read and prepare one item: a caption, or the path of a media file."""

    def rows(self, modality: str, reads: Sequence[Any]) -> Any:
        """Encode what ``read`` returned for some items: ``[b, d]`` floats of any norm."""


@cache
def find_encoder(space: str, device: str) -> ItemEncoder:
    """Create the encoder that an installed package offers for a native space, once per process.

    Args:
        space: Name of the space.
        device: Where it runs: "cpu", "cuda", as torch names devices.

    Raises:
        FreeBindError: No package offers one.
    """
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if space not in known:
        raise FreeBindError(
            f"there is no encoder of {space!r}",
            expected=f"one of: {', '.join(sorted(known))}" if known else "an installed encoder",
            fix=f"name one: --encoder {space}=ENCODER (in Python, give Embedder its encoders)",
        )
    encoder: ItemEncoder = known[space].load()(weights=None, device=device)
    return encoder


@dataclass(frozen=True)
class Embedder:
    """Encodes items by every native space and fuses the embeddings.

    Attributes:
        space: The fused space.
        encoders: Native space to its encoder; others are found by entry point.
        device: Where encoders that are found run: "cpu", "cuda", or "auto" for CUDA if JAX
            computes on a GPU.
        batch: Items to read and encode at a time, 1 to 65536.
        precision: Precision of the projectors' matrix products.
    """

    space: FusedSpace
    encoders: Mapping[str, ItemEncoder] = field(default_factory=dict, hash=False)
    device: str = "auto"
    batch: int = 32
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        require_range("embedder", 1, 1 << 16, batch=self.batch)

    def embed(
        self, modality: str, items: Sequence[str | Path], role: Role | None = None
    ) -> Float32[np.ndarray, "n d"]:
        """Encode and fuse items.

        Args:
            modality: Name of the modality.
            items: Captions, or paths of media files.
            role: "query" or "item" for the rows of a hub correction; see ``FusedSpace.fuse``.

        Returns:
            ``[n, d]`` rows of the fused space.

        Raises:
            FreeBindError: There is no such modality, a space has no encoder, there is no item, one
                cannot be read, or its embedding is NaN, infinite or zero.
        """
        if modality not in self.space.modalities:
            raise unknown("modality", modality, self.space.modalities)
        if isinstance(items, str) or not len(items):
            raise FreeBindError(
                "there is nothing to embed", expected="a list of captions or paths", got=repr(items)
            )
        rows = {name: self.encode(name, modality, items) for name in self.space.spaces_of(modality)}
        return self.space.fuse(modality, rows, self.precision, role=role)

    def encoder(self, space: str) -> ItemEncoder:
        """Return the encoder of a native space; one that is found by entry point is loaded now."""
        auto = "cuda" if platform() == "gpu" else "cpu"
        device = auto if self.device == "auto" else self.device
        return self.encoders[space] if space in self.encoders else find_encoder(space, device)

    def encode(
        self, space: str, modality: str, items: Sequence[str | Path]
    ) -> Float[np.ndarray, "n d"]:
        """Return the rows of items in one native space, of any norm; see ``embed``."""
        encoder = self.encoder(space)
        blocks = [items[start : start + self.batch] for start in range(0, len(items), self.batch)]
        return np.concatenate([_encode(encoder, space, modality, block) for block in blocks])


def _encode(
    encoder: ItemEncoder, space: str, modality: str, items: Sequence[str | Path]
) -> np.ndarray:
    batch = [_read(encoder, space, modality, item) for item in items]
    where = f"{modality} of {space}"
    rows = to_numpy(encoder.rows(modality, batch), where)
    require_matrix(rows, where)
    if len(rows) != len(items):
        raise FreeBindError(
            "an encoder must return one row for each item",
            where=where,
            expected=f"{len(items)} rows",
            got=f"{len(rows)} rows",
        )
    return rows


def _read(encoder: ItemEncoder, space: str, modality: str, item: str | Path) -> Any:
    try:
        return encoder.read(modality, item)
    except Exception as error:
        raise FreeBindError(
            f"{space} cannot read this {modality}",
            where=item,
            got=f"{type(error).__name__}: {error}",
        ) from error
