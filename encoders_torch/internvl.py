"""InternVL-C (image, text; 768-d): the model folder's own code does the work.

It needs an environment of its own, transformers below 5: see docs/encoders.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from jaxtyping import Float32, Int64

from encoders_torch.hub import folder_digest, model_folder, require_all_loaded
from encoders_torch.media import read_image
from fb_jax.errors import FreeBindError

HUB_NAME = "OpenGVLab/InternVL-14B-224px"
LICENCE = "MIT"
MODE = "InternVL-C"
PREFIX = "summarize:"
TOKENS = 80
PAD = 0
"""The model takes tokens above this one for text."""


class InternVL:
    """InternVL-C, as ``encoders_torch.export`` takes it.

    Args:
        weights: The model folder, with its code; None downloads it (28 GB).
        device: Of torch.

    Raises:
        FreeBindError: There is no such folder, or it does not load.
    """

    modalities = ("image", "text")
    licence = LICENCE

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        folder = model_folder(HUB_NAME, weights, LICENCE)
        try:
            self._load(folder)
        except FreeBindError:
            raise
        except Exception as error:  # whatever the folder's own code raises
            raise FreeBindError(
                "a model folder cannot be loaded",
                where=folder,
                expected=f"{HUB_NAME}, in its environment: see docs/encoders.md",
                got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]} "
                f"(transformers {transformers.__version__})",
            ) from error
        self._model.eval().requires_grad_(False).to(device)
        self._device = device
        self.name = f"{HUB_NAME}, mode {MODE}"
        self.weights_sha256 = folder_digest(folder)
        self.dim = self.encode("text", [self.read("text", "a")]).shape[1]

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
        self._tokenizer.padding_side = "right"  # the model counts tokens to find the last
        pillow = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
        self._processor = pillow.from_pretrained(folder)

    def read(self, modality: str, item: str | Path) -> np.ndarray:
        """Return one item's pixels, or its tokens."""
        if modality == "text":
            return self._read_text(str(item))
        found = self._processor(images=read_image(Path(item)), return_tensors="np")
        return found["pixel_values"][0]

    def _read_text(self, caption: str) -> Int64[np.ndarray, " tokens"]:
        length = {"truncation": True, "padding": "max_length", "max_length": TOKENS}
        found = self._tokenizer(PREFIX + caption, return_tensors="np", **length)
        return found["input_ids"][0].astype(np.int64)

    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        with torch.inference_mode():
            inputs = torch.from_numpy(np.stack(batch)).to(self._device)
            if modality == "text":
                rows = self._model.encode_text(inputs)
            else:
                rows = self._model.encode_image(inputs.to(self._model.dtype), mode=MODE)
            return rows.float().cpu().numpy()
