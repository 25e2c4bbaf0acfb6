"""ImageBind as a frozen encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import normalize

from encoders_torch.imagebind.audio import read_clips
from encoders_torch.imagebind.checkpoint import load_towers
from encoders_torch.imagebind.image import read_pixels
from encoders_torch.imagebind.text import ClipTokenizer
from encoders_torch.imagebind.weights import LICENCE, find_weights
from encoders_torch.media import Media, as_media
from encoders_torch.torch_encoder import Precision, TorchEncoder
from fb_jax import files
from fb_jax.errors import unknown

ABOUT = "ImageBind, of audio the mean of 3 clips of 2 s, of images the middle"
"""Description for manifests; what computes the towers is appended."""


class ImageBind(TorchEncoder):
    """ImageBind as a ``FrozenEncoder``: unit rows, 1024-d with the published weights.

    Clips of a recording are taken at three fixed positions, so the same file always has the same
    embedding.

    Args:
        weights: ``imagebind_huge.pth``, or another checkpoint with its keys (``.pth``, ``.pt``,
            ``.safetensors``). None takes the one in torch's cache, or downloads it.
        device: Of torch.

    Raises:
        FreeBindError: The weights are missing and cannot be downloaded, or are not ImageBind's;
            or a package that reads captions is missing.
    """

    computed_by: ClassVar[str] = "own towers"

    def __init__(
        self,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self.tokenizer = ClipTokenizer()
        path = find_weights(weights)
        towers = self._load(path)
        super().__init__(
            towers,
            device=device,
            precision=precision,
            name=f"{ABOUT}, {self.computed_by}",
            dim=towers.dim,
            modalities=("audio", "image", "text"),
            weights_sha256=files.remembered_sha256(path),
            licence=LICENCE,
        )

    def _load(self, path: Path) -> Any:
        return load_towers(path)

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Prepare one item.

        Returns:
            Text: ids, int64 [77]. Image: float32 [3, 224, 224]. Audio: three spectrograms, float32
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

    def forward(self, modality: str, batch: torch.Tensor) -> Float[torch.Tensor, "b d"]:
        """Return unit rows, the same within 1e-6 alone and in any batch."""
        return normalize(self._rows(modality, batch), dim=1)

    def _rows(self, modality: str, inputs: torch.Tensor) -> torch.Tensor:
        """Return one row for each item; a recording's is the mean of its clips' unit rows."""
        if modality != "audio":
            return self.model("vision" if modality == "image" else modality, inputs)
        clips = normalize(self.model("audio", inputs.flatten(0, 1)), dim=1)
        return clips.unflatten(0, inputs.shape[:2]).mean(dim=1)
