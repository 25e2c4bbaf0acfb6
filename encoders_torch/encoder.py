"""The base class of encoders: implement ``read`` and ``encode`` to add your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch.utils.data import default_collate

from encoders_torch.media import Media
from fb_jax.banks import Encoder


class FrozenEncoder(ABC):
    """A model that turns items into embeddings.

    An export calls ``prepare`` for each modality; then, in worker processes on the CPU, ``read``
    for every item and ``collate`` for every batch; and ``encode`` where the model is. A row must
    depend on its item alone: no dropout, no random crop.

    A class that ``load_encoder`` can load takes ``weights`` (a path or None) and ``device``
    (torch's name of one) as keywords. Options of the command that it does not take are refused.

    Args:
        name: Name of the model and of all that its rows depend on, for manifests.
        dim: Dimensions of the embeddings.
        modalities: What it encodes.
        weights_sha256: Digest of the weights.
        licence: Licence of the weights. It applies to the embeddings too.
    """

    def __init__(
        self,
        *,
        name: str,
        dim: int,
        modalities: Sequence[str],
        weights_sha256: str,
        licence: str = "unknown",
    ) -> None:
        self.name, self.dim, self.modalities = name, dim, tuple(modalities)
        self.weights_sha256, self.licence = weights_sha256, licence

    def prepare(self, modality: str) -> None:  # noqa: B027 - most need nothing
        """Load what only this modality needs; called before workers start."""

    @abstractmethod
    def read(self, modality: str, item: str | Path | Media) -> Any:
        """Read and prepare one item.

        Args:
            modality: One of ``modalities``.
            item: A caption; or a media item, or its path. An export gives ``Media``, which can be
                used as a path if it is a whole file.

        Raises:
            Exception: Any, if the item cannot be used. The export lists the item as missing.
        """

    def collate(self, modality: str, reads: Sequence[Any]) -> Any:
        """Return a batch of what ``read`` returned; its parts can be cut like a list.

        Arrays of one shape are stacked to tensors, also in dictionaries.

        Returns:
            A tensor, array or list whose first axis is the items, or a dictionary of them.
        """
        return default_collate(list(reads))

    @abstractmethod
    def encode(self, modality: str, batch: Any) -> Float[np.ndarray, "b d"]:
        """Return the rows of a batch from ``collate``; they may have any norm."""

    def rows(self, modality: str, reads: Sequence[Any]) -> Float[np.ndarray, "b d"]:
        """Collate and encode a few items that ``read`` returned."""
        return self.encode(modality, self.collate(modality, reads))


def provenance(encoder: FrozenEncoder, licence: str | None = None, how: str = "") -> Encoder:
    """Return the description of an encoder for a bank's manifest.

    Args:
        encoder: The encoder.
        licence: Of the weights, if the encoder does not know it.
        how: What else the rows depend on; it is added to the name.
    """
    return Encoder(encoder.name + how, encoder.weights_sha256, licence or encoder.licence)
