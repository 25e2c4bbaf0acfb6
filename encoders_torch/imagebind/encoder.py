"""ImageBind as a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.functional import normalize

from encoders_torch.imagebind.audio import read_clips
from encoders_torch.imagebind.checkpoint import load_towers
from encoders_torch.imagebind.image import read_pixels
from encoders_torch.imagebind.text import ClipTokenizer
from encoders_torch.imagebind.weights import LICENCE, find_weights
from fb_jax import files
from fb_jax.errors import FreeBindError, unknown

ABOUT = "ImageBind, of audio the mean of 3 clips of 2 s, of images the middle"
"""Description for manifests; what computes the towers is appended."""


class ImageBind:
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

    name = f"{ABOUT}, own towers"
    modalities: tuple[str, ...] = ("audio", "image", "text")
    licence = LICENCE

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        self.tokenizer = ClipTokenizer()
        path = find_weights(weights)
        self.towers = self._load(path).to(device)
        self.weights_sha256 = files.sha256_of(path)
        self.device = device
        self.dim = self.towers.dim

    def _load(self, path: Path) -> Any:
        return load_towers(path)

    def read(self, modality: str, item: str | Path) -> np.ndarray:
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
            return read_pixels(Path(item))
        if modality == "audio":
            return read_clips(Path(item))
        raise unknown("modality", modality, self.modalities)

    @torch.inference_mode()
    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Encode what ``read`` returned; unit rows, the same within 1e-6 alone and in any batch."""
        if modality not in self.modalities:
            raise unknown("modality", modality, self.modalities)
        if not batch:
            raise FreeBindError("there is nothing to encode", expected="one item or more")
        inputs = torch.from_numpy(np.stack(batch)).to(self.device)
        # TF32, torch's default for convolutions on a GPU, would lose three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return normalize(self._rows(modality, inputs), dim=1).cpu().numpy()

    def _rows(self, modality: str, inputs: torch.Tensor) -> torch.Tensor:
        """Return one row for each item; a recording's is the mean of its clips' unit rows."""
        if modality != "audio":
            return self.towers("vision" if modality == "image" else modality, inputs)
        clips = normalize(self.towers("audio", inputs.flatten(0, 1)), dim=1)
        return clips.unflatten(0, inputs.shape[:2]).mean(dim=1)
