"""CLIP, SigLIP and CLAP models of transformers, by folder or name on the hub: ``hf:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float32

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.hub import folder_digest, folder_licence, model_folder, require_all_loaded
from encoders_torch.media import Media, as_media, read_audio, read_image
from fb_jax.errors import unknown

MODALITIES = {"clip": "image", "siglip": "image", "clap": "audio"}
"""What a model encodes beside text, by its ``model_type``."""

CLAP_TOKENS = 77
"""CLAP was trained on captions up to this length, though its text tower takes longer ones."""

Features = dict[str, np.ndarray]
"""Arguments of the model for one item: name to array without a batch axis."""


class HuggingFace(FrozenEncoder):
    """A model of one of the families, as a ``FrozenEncoder``.

    Of recordings longer than CLAP's window the middle is taken, so that the same file always has
    the same embedding.

    Args:
        name: A folder, or a model on the hub.
        weights: The folder, if it is not ``name``.
        device: Of torch.

    Raises:
        FreeBindError: There is no such model, it is of another family, or weights are missing.
    """

    def __init__(self, name: str, weights: Path | str | None = None, device: str = "cpu") -> None:
        folder = model_folder(name, weights, "see its model card")
        config = _load(transformers.AutoConfig, folder)
        self._family: str = config.model_type
        if self._family not in MODALITIES:
            raise unknown("family of encoders", self._family, MODALITIES, folder)
        other = MODALITIES[self._family]
        self._model, info = _load(transformers.AutoModel, folder, output_loading_info=True)
        require_all_loaded(info, folder)
        self._model.float().eval().requires_grad_(False).to(device)
        self._tokenizer = _load(transformers.AutoTokenizer, folder)
        self._processor = _load_processor(folder, other)
        self._tokens = _tokens(config)
        self._device = device
        cut = ", of long audio the middle" if other == "audio" else ""
        super().__init__(
            name=f"transformers {self._family}: {name}{cut}",
            dim=self.encode("text", [self.read("text", "a")]).shape[1],
            modalities=tuple(sorted((other, "text"))),
            weights_sha256=folder_digest(folder),
            licence=folder_licence(folder),
        )

    def read(self, modality: str, item: str | Path | Media) -> Features:
        """Return one item's features."""
        if modality == "text":
            return self._read_text(str(item))
        if modality == "audio":
            return self._read_audio(as_media(item))
        features = self._processor(images=read_image(as_media(item)), return_tensors="np")
        return {"pixel_values": features["pixel_values"][0]}

    def _read_text(self, caption: str) -> Features:
        """Return tokens, all cut or padded to one length, so a row does not depend on its batch."""
        length = {"truncation": True, "padding": "max_length", "max_length": self._tokens}
        tokens = self._tokenizer(caption, return_tensors="np", **length)
        masked = self._family != "siglip"  # SigLIP was trained to attend to padding
        names = ("input_ids", "attention_mask") if masked else ("input_ids",)
        return {name: tokens[name][0] for name in names}

    def _read_audio(self, path: Media) -> Features:
        rate, window = self._processor.sampling_rate, self._processor.nb_max_samples
        wave = read_audio(path, rate)
        over = max(len(wave) - window, 0)
        wave = wave[over // 2 : over // 2 + window]
        features = self._processor(wave, sampling_rate=rate, return_tensors="np")
        # The extractor marks a random clip of a batch as long if none is.
        return {"input_features": features["input_features"][0], "is_longer": np.array([False])}

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any]:
        """Return the items as they are."""
        return list(reads)

    def encode(self, modality: str, batch: Sequence[Features]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        embed = getattr(self._model, f"get_{modality}_features")
        stacked = {name: np.stack([item[name] for item in batch]) for name in batch[0]}
        with torch.inference_mode():
            output = embed(**{k: torch.from_numpy(v).to(self._device) for k, v in stacked.items()})
        # transformers 4 returns the rows themselves
        rows = output if isinstance(output, torch.Tensor) else output.pooler_output
        return rows.float().cpu().numpy()


def _tokens(config: Any) -> int:
    if config.model_type == "clap":
        return min(CLAP_TOKENS, config.text_config.max_position_embeddings - 2)
    return config.text_config.max_position_embeddings


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    with explained(
        "a model cannot be loaded",
        where=folder,
        expected="the folder of a complete transformers model and its processor",
    ):
        return kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )


def _load_processor(folder: Path, modality: str) -> Any:
    """Load what prepares pictures or sound; pictures by Pillow, even if torchvision is here."""
    if modality == "audio":
        return _load(transformers.AutoFeatureExtractor, folder)
    pillow = {"backend": "pil"} if _major() >= 5 else {"use_fast": False}
    return _load(transformers.AutoImageProcessor, folder, **pillow)


def _major() -> int:
    return int(transformers.__version__.split(".")[0])
