"""ImageBind as a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from encoders_torch.imagebind.audio import SAMPLER, read_clips
from encoders_torch.imagebind.checkpoint import Checkpoint
from encoders_torch.imagebind.image import normalised, read_pixels
from encoders_torch.imagebind.text import ClipTokenizer
from encoders_torch.imagebind.weights import LICENCE, find_weights
from encoders_torch.media import Media, as_media
from encoders_torch.torch_encoder import Precision, TorchEncoder
from fb_jax import files
from fb_jax.errors import unknown

ABOUT = f"ImageBind, of audio {SAMPLER}, of images the middle"
"""Description for manifests; what differs between classes is appended."""

TOWERS = {"audio": "audio", "image": "vision", "text": "text"}
"""Modality to the name of its tower."""


class ImageBind(TorchEncoder):
    """ImageBind as a ``FrozenEncoder``: unit rows, 1024-d with the published weights.

    Clips of a recording are taken at three fixed positions, so the same file always has the same
    embedding. A tower is loaded when it is first needed.

    Args:
        weights: ``imagebind_huge.pth``, or another checkpoint with its keys (``.pth``, ``.pt``,
            ``.safetensors``). None takes the one in torch's cache, or downloads it.
        device: Of torch.
        precision: See ``TorchEncoder``.

    Raises:
        FreeBindError: The weights are missing and cannot be downloaded, or are not ImageBind's;
            or a package that reads captions is missing.
    """

    computed_by: ClassVar[str] = "own towers"
    opens: ClassVar[type[Checkpoint]] = Checkpoint
    keeps_end: ClassVar[bool] = True
    """Whether captions that are cut keep their end token."""

    def __init__(
        self,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.tokenizer = ClipTokenizer(self.keeps_end)
        path = find_weights(weights)
        self.checkpoint = self.opens(path)
        captions = "" if self.keeps_end else ", long captions without end"
        super().__init__(
            nn.ModuleDict(),  # the towers that were needed
            device=device,
            precision=precision,
            name=f"{ABOUT}{captions}, {self.computed_by}",
            dim=self.checkpoint.dim,
            modalities=tuple(TOWERS),
            weights_sha256=files.remembered_sha256(path),
            licence=LICENCE,
        )

    def prepare(self, modality: str) -> None:
        """Load the tower of a modality, unless that was done.

        Raises:
            FreeBindError: There is no such modality.
        """
        self.tower(modality)

    def tower(self, modality: str) -> nn.Module:
        """Return the tower of a modality; it maps batches to unit rows.

        Raises:
            FreeBindError: There is no such modality.
        """
        if modality not in TOWERS:
            raise unknown("modality", modality, self.modalities)
        name = TOWERS[modality]
        if name not in self.model:
            with torch.inference_mode(False):  # its weights may be trained later
                self.model[name] = self.placed(self.checkpoint.tower(name))
        return self.model[name]

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Prepare one item.

        Returns:
            Text: ids, int64 [77]. Image: uint8 [3, 224, 224]. Audio: three spectrograms, float32
            [3, 1, 128, 204].

        Raises:
            FreeBindError: The item cannot be used, or there is no such modality.
        """
        if modality == "text":
            return self.tokenizer(str(item))
        if modality == "image":
            return read_pixels(as_media(item))
        if modality == "audio":
            return read_clips(as_media(item))
        raise unknown("modality", modality, self.modalities)

    def collate(self, modality: str, reads: Sequence[np.ndarray]) -> Tensor:
        """Return the items as one tensor; captions are cut to the longest of them."""
        return super().collate(modality, _cut(reads) if modality == "text" else reads)

    def forward(self, modality: str, batch: Tensor) -> Float[Tensor, "b d"]:
        """Return unit rows, the same within 1e-6 alone and in any batch."""
        if modality == "image":
            batch = normalised(batch).to(self.dtype)
        return self.tower(modality)(batch)


class ImageBindCutEnd(ImageBind):
    """ImageBind with captions as its code cut them before 21 November 2025: without an end token.

    All captions of more than 75 tokens have the same row, that of the start token.
    """

    keeps_end = False


def _cut(captions: Sequence[Int64[np.ndarray, " context"]]) -> list[Int64[np.ndarray, " tokens"]]:
    """Cut captions after the last token that is embedded; no later token changes its row."""
    longest = 1 + max(int(ids.argmax()) for ids in captions)
    return [ids[:longest] for ids in captions]
