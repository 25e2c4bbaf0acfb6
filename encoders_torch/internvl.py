"""InternVL-C (image, text; 768-d), run by the code in the model's folder.

It needs an environment of its own with transformers below 5: see docs/encoders.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float32, Int64

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.hub import folder_digest, model_folder, require_all_loaded
from encoders_torch.media import Media, as_media, read_image

HUB_NAME = "OpenGVLab/InternVL-14B-224px"
LICENCE = "MIT"
MODE = "InternVL-C"
PREFIX = "summarize:"
TOKENS = 80
PAD = 0
"""The model takes only tokens above this one for text."""


class InternVL(FrozenEncoder):
    """InternVL-C, as a ``FrozenEncoder``.

    Args:
        weights: The model folder, with its code. None downloads it (28 GB).
        device: Of torch.

    Raises:
        FreeBindError: There is no such folder, or it cannot be loaded.
    """

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        folder = model_folder(HUB_NAME, weights, LICENCE)
        version = transformers.__version__
        with explained(
            "a model folder cannot be loaded",
            where=folder,
            expected=f"{HUB_NAME}, in its own environment (here: transformers {version})",
            fix="see docs/encoders.md",
        ):
            self._load(folder)
        self._model.eval().requires_grad_(False).to(device)
        self._device = device
        super().__init__(
            name=f"{HUB_NAME}, mode {MODE}",
            dim=self.encode("text", [self.read("text", "a")]).shape[1],
            modalities=("image", "text"),
            weights_sha256=folder_digest(folder),
            licence=LICENCE,
        )

    def _load(self, folder: Path) -> None:
        dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        self._model, info = transformers.AutoModel.from_pretrained(
            folder, trust_remote_code=True, output_loading_info=True, **{dtype: "auto"}
        )
        require_all_loaded(info, folder)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=True, use_fast=False, add_eos_token=True
        )
        self._tokenizer.pad_token_id = PAD
        self._tokenizer.padding_side = "right"  # the model finds the last token by counting
        pillow = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
        self._processor = pillow.from_pretrained(folder)

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Return one item's pixels, or its tokens."""
        if modality == "text":
            return self._read_text(str(item))
        features = self._processor(images=read_image(as_media(item)), return_tensors="np")
        return features["pixel_values"][0]

    def _read_text(self, caption: str) -> Int64[np.ndarray, " tokens"]:
        length = {"truncation": True, "padding": "max_length", "max_length": TOKENS}
        tokens = self._tokenizer(PREFIX + caption, return_tensors="np", **length)
        return tokens["input_ids"][0].astype(np.int64)

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any]:
        """Return the items as they are."""
        return list(reads)

    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        with torch.inference_mode():
            inputs = torch.from_numpy(np.stack(batch)).to(self._device)
            if modality == "text":
                rows = self._model.encode_text(inputs)
            else:
                rows = self._model.encode_image(inputs.to(self._model.dtype), mode=MODE)
            return rows.float().cpu().numpy()
