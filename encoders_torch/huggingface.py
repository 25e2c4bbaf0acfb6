"""CLIP, SigLIP and CLAP models of transformers, by folder or name on the hub: ``hf:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float, Int64
from torch import Tensor

from encoders_torch.clap.views import Views
from encoders_torch.explain import explained
from encoders_torch.hub import (
    folder_digest,
    folder_licence,
    model_folder,
    name_for_manifests,
    other_family,
    require_all_loaded,
    without_bars,
)
from encoders_torch.media import Media, as_media, read_audio, read_image
from encoders_torch.pixels import Pictures
from encoders_torch.torch_encoder import Precision, TorchEncoder
from fb_jax.errors import unknown

MODALITIES = {"clip": "image", "siglip": "image", "clap": "audio"}
"""What a model encodes beside text, by its ``model_type``."""

CLAP_TOKENS = 77
"""CLAP was trained on captions up to this length, though its text tower takes longer ones."""

HIGHEST = 2
"""As ``eos_token_id`` of CLIP: the row is taken at the highest token, as in old configurations."""

Features = dict[str, np.ndarray]
"""Arguments of the model for one item: name to array without a batch axis."""


class HuggingFace(TorchEncoder):
    """A model of one of the families, as a ``FrozenEncoder``.

    Of recordings longer than CLAP's window the middle is taken, or by a model with fusion all of
    them and the middle of each third, so that the same file always has the same embedding.

    Args:
        name: A folder, or a model on the hub.
        weights: The folder, if it is not ``name``.
        device: Of torch.
        precision: Of the arithmetic.

    Raises:
        FreeBindError: There is no such model, it is of another family, or weights are missing.
    """

    def __init__(
        self,
        name: str,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        folder = model_folder(name, weights, "see its model card")
        config = _load(transformers.AutoConfig, folder)
        self._family: str = config.model_type
        if self._family not in MODALITIES:
            hint = other_family(folder, "config.json")
            raise unknown("family of encoders", self._family, MODALITIES, folder, hint)
        other = MODALITIES[self._family]
        model, info = _load(transformers.AutoModel, folder, output_loading_info=True)
        require_all_loaded(info, folder)
        self._tokenizer = _load(transformers.AutoTokenizer, folder)
        self._processor: Any = _load_processor(folder, config, other)
        self._tokens = _tokens(config)
        how = f", {self._processor.describe()}" if isinstance(self._processor, Views) else ""
        super().__init__(
            model,
            device=device,
            precision=precision,
            name=f"transformers {self._family}: {name_for_manifests(name, folder)}{how}",
            dim=_dim(config),
            modalities=tuple(sorted((other, "text"))),
            weights_sha256=folder_digest(folder),
            licence=folder_licence(folder),
        )

    def read(self, modality: str, item: str | Path | Media) -> Features:
        """Return one item's features."""
        if modality == "text":
            return self._read_text(str(item))
        if modality == "image":
            return {"pixel_values": self._processor.read(read_image(as_media(item)))}
        return self._processor.read(read_audio(as_media(item), self._processor.rate))

    def _read_text(self, caption: str) -> Features:
        """Return tokens, cut or padded to one length."""
        length = {"truncation": True, "padding": "max_length", "max_length": self._tokens}
        tokens = self._tokenizer(caption, return_tensors="np", **length)
        masked = self._family != "siglip"  # SigLIP was trained to attend to padding
        names = ("input_ids", "attention_mask") if masked else ("input_ids",)
        return {name: tokens[name][0] for name in names}

    def collate(self, modality: str, reads: Sequence[Any]) -> dict[str, Tensor]:
        """Return a batch; captions are cut to the longest, where no row depends on the rest."""
        batch = super().collate(modality, reads)
        if modality != "text" or self._family == "siglip":
            return batch
        longest = int(self._last(batch).max()) + 1
        return {name: rows[:, :longest].contiguous() for name, rows in batch.items()}

    def _last(self, batch: dict[str, Tensor]) -> Int64[Tensor, " b"]:
        """Return the place of the last token that a caption's row depends on."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if self._family == "clap":
            return (mask * torch.arange(mask.shape[1])).argmax(dim=1)
        end = self.model.config.text_config.eos_token_id
        return ids.argmax(dim=1) if end == HIGHEST else (ids == end).int().argmax(dim=1)

    def forward(self, modality: str, batch: dict[str, Tensor]) -> Float[Tensor, "b d"]:
        """Return the model's rows."""
        if modality == "image":
            pixels = self._processor.finish(batch["pixel_values"], self.dtype)
            batch = {"pixel_values": pixels}
        output = getattr(self.model, f"get_{modality}_features")(**batch)
        # transformers 4 returns the rows themselves
        return output if isinstance(output, Tensor) else output.pooler_output


def _tokens(config: Any) -> int:
    if config.model_type == "clap":
        return min(CLAP_TOKENS, config.text_config.max_position_embeddings - 2)
    return config.text_config.max_position_embeddings


def _dim(config: Any) -> int:
    if config.model_type == "siglip":
        return config.text_config.projection_size
    return config.projection_dim


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    expected = "the folder of a complete transformers model and its processor"
    with explained("a model cannot be loaded", where=folder, expected=expected), without_bars():
        return kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )


def _load_processor(folder: Path, config: Any, modality: str) -> Pictures | Views:
    """Load what prepares pictures or sound; pictures by Pillow, even if torchvision is here."""
    if modality == "audio":
        extractor = _load(transformers.AutoFeatureExtractor, folder)
        return Views(extractor, config.audio_config.enable_fusion, folder)
    pillow = {"backend": "pil"} if _major() >= 5 else {"use_fast": False}
    return Pictures(_load(transformers.AutoImageProcessor, folder, **pillow))


def _major() -> int:
    return int(transformers.__version__.split(".")[0])
