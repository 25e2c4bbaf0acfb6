"""InternVL-C (image, text; 768-d), run by the code in the model's folder.

It needs an environment of its own with transformers below 5: see docs/encoders.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float, Int64
from torch import Tensor

from encoders_torch.explain import explained
from encoders_torch.hub import folder_digest, model_folder, require_all_loaded, without_bars
from encoders_torch.media import Media, as_media, read_image
from encoders_torch.pixels import Pictures
from encoders_torch.torch_encoder import Precision, TorchEncoder, dtype_of
from fb_jax.errors import FreeBindError

HUB_NAME = "OpenGVLab/InternVL-14B-224px"
LICENCE = "MIT"
MODE = "InternVL-C"
PREFIX = "summarize:"
TOKENS = 80
PAD = 0
"""The model takes only tokens above this one for text, whatever the tokenizer's files name."""


class InternVL(TorchEncoder):
    """InternVL-C, as a ``FrozenEncoder``.

    Args:
        weights: The model folder, with its code. None downloads it (28 GB).
        device: Of torch.
        precision: Of the arithmetic. FreeBind's authors took ``bfloat16``.
        trust_remote_code: Allow the code in the folder to run.
        revision: Commit to download, 40 hexadecimal digits: it pins the code.

    Raises:
        FreeBindError: The code may not run or is not pinned; or there is no such folder, or it
            cannot be loaded.
    """

    def __init__(
        self,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "bfloat16",
        trust_remote_code: bool = False,
        revision: str | None = None,
    ) -> None:
        _require_trust(trust_remote_code, weights, revision)
        folder = model_folder(HUB_NAME, weights, LICENCE, revision=revision)
        version = transformers.__version__
        with explained(
            "a model folder cannot be loaded",
            where=folder,
            expected=f"{HUB_NAME}, in its own environment (here: transformers {version})",
            fix="see docs/encoders.md",
        ):
            model = _load_model(folder, dtype_of(precision))
            self._tokenizer = _load_tokenizer(folder)
            self._pictures = _load_pictures(folder)
        super().__init__(
            model,
            device=device,
            precision=precision,
            name=f"{HUB_NAME}, mode {MODE}, pad token {PAD}",
            dim=model.config.clip_embed_dim,
            modalities=("image", "text"),
            weights_sha256=folder_digest(folder),
            licence=LICENCE,
        )

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Return one item's pixels, or its tokens."""
        if modality == "text":
            return self._read_text(str(item))
        return self._pictures.read(read_image(as_media(item)))

    def _read_text(self, caption: str) -> Int64[np.ndarray, " tokens"]:
        length = {"truncation": True, "padding": "max_length", "max_length": TOKENS}
        tokens = self._tokenizer(PREFIX + caption, return_tensors="np", **length)
        return tokens["input_ids"][0].astype(np.int64)

    def collate(self, modality: str, reads: Sequence[Any]) -> Tensor:
        """Return a batch; captions are cut to the longest: the model looks only backwards."""
        batch: Tensor = super().collate(modality, reads)
        if modality != "text":
            return batch
        longest = int(batch.ne(PAD).any(dim=0).nonzero().max()) + 1
        return batch[:, :longest].contiguous()

    def forward(self, modality: str, batch: Tensor) -> Float[Tensor, "b d"]:
        """Return the model's rows."""
        if modality == "text":
            return self.model.encode_text(batch)
        return self.model.encode_image(self._pictures.finish(batch, self.dtype), mode=MODE)


def _require_trust(trusted: bool, weights: Path | str | None, revision: str | None) -> None:
    """Raise a FreeBindError unless the user allowed code that cannot change."""
    if not trusted:
        raise FreeBindError(
            f"{HUB_NAME} contains code, which would run on this machine",
            where=weights,
            expected="your permission",
            fix="read the .py files in its folder, then give --trust-remote-code",
        )
    if weights is not None and revision is not None:
        raise FreeBindError("a folder has no revision", where=weights, fix="leave --revision out")
    if weights is None and not re.fullmatch("[0-9a-f]{40}", revision or ""):
        raise FreeBindError(
            f"a download of {HUB_NAME} must name the commit whose code you read",
            expected="--revision with 40 hexadecimal digits",
            got=revision,
            fix=f"copy them from https://huggingface.co/{HUB_NAME}/commits/main; or give "
            "--weights FOLDER",
        )


def _load_model(folder: Path, dtype: torch.dtype) -> Any:
    keyword = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    with without_bars():
        model, info = transformers.AutoModel.from_pretrained(
            folder, trust_remote_code=True, output_loading_info=True, **{keyword: dtype}
        )
    require_all_loaded(info, folder)
    return model


def _load_tokenizer(folder: Path) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, trust_remote_code=True, use_fast=False, add_eos_token=True
    )
    tokenizer.pad_token_id = PAD
    tokenizer.padding_side = "right"  # the model finds the last token by counting
    return tokenizer


def _load_pictures(folder: Path) -> Pictures:
    pillow = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    return Pictures(pillow.from_pretrained(folder))
