"""The pairs of a tuning: recordings, and images in the space of a product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks import Bank, ItemList, open_banks, open_split
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class Pairs:
    """Pairs of a recording and an image.

    Attributes:
        items: The recordings.
        folder: Their paths are relative to it.
        images: The product's image bank.
        rows: ``[p, 2]``: row of ``items``, row of ``images``.
    """

    items: ItemList
    folder: Path
    images: Bank
    rows: Integer[np.ndarray, "p 2"]

    def __len__(self) -> int:
        return len(self.rows)

    def identity(self) -> dict[str, object]:
        """Return digests that differ for any other pairs, as JSON."""
        return {
            "items": self.items.digest,
            "images": self.images.fingerprint,
            "rows": files.sha256_of_bytes(np.ascontiguousarray(self.rows, np.int64).tobytes()),
        }


def open_pairs(root: Path | str, split: str, space: str, folder: Path | str) -> Pairs:
    """Open the pairs of a split, without those whose image has no fused row.

    Args:
        root: A bank root.
        split: It has audio and image items, their pair table, and a fused bank of the images.
        space: Name of the fused space.
        folder: The paths of the audio items are relative to it.

    Raises:
        FreeBindError: One of them is missing or damaged.
    """
    opened = open_split(root := Path(root), split)
    table = opened.read_pairs("audio", "image")
    banks = open_banks(root, split, spaces=[space])
    if "image" not in banks.modalities(space):
        raise FreeBindError("there are no fused images", where=opened.bank_path(space, "image"))
    images = banks[space, "image"]
    images.verify()
    kept = banks.rows["image"]
    positions = np.searchsorted(kept, table[:, 1])
    has_row = kept[np.minimum(positions, len(kept) - 1)] == table[:, 1]
    rows = np.stack([table[has_row, 0], positions[has_row]], axis=1)
    return Pairs(opened.items("audio"), Path(folder), images, rows)
