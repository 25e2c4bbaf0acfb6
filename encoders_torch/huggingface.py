"""CLIP, SigLIP and CLAP of transformers, by folder or name on the hub: ``hf:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float32

from encoders_torch.hub import folder_digest, folder_licence, model_folder, require_all_loaded
from encoders_torch.media import read_audio, read_image
from fb_jax.errors import FreeBindError, unknown

MODALITIES = {"clip": "image", "siglip": "image", "clap": "audio"}
"""What a family, by its ``model_type``, encodes beside text."""

CLAP_TOKENS = 77
"""CLAP was trained with no longer captions, though its text tower takes them."""

Features = dict[str, np.ndarray]
"""What one item is to the model: the names of its arguments, and arrays without a batch axis."""


class HuggingFace:
    """A model of one of the families, as ``encoders_torch.export`` takes it.

    Recordings that are longer than CLAP's window are cut to its middle, so that the same file has
    the same embedding.

    Args:
        name: Of a folder, or of a model on the hub.
        weights: The folder, if ``name`` is something else.
        device: Of torch.

    Raises:
        FreeBindError: There is no such model, it is of another family, or its weights are not all
            there.
    """

    def __init__(self, name: str, weights: Path | None = None, device: str = "cpu") -> None:
        folder = model_folder(name, weights, "see its model card")
        config = _load(transformers.AutoConfig, folder)
        self._family: str = config.model_type
        if self._family not in MODALITIES:
            raise unknown("family of encoders", self._family, MODALITIES, folder)
        self._beside = MODALITIES[self._family]
        self._model, info = _load(transformers.AutoModel, folder, output_loading_info=True)
        require_all_loaded(info, folder)
        self._model.float().eval().requires_grad_(False).to(device)
        self._tokenizer = _load(transformers.AutoTokenizer, folder)
        self._processor = _load_processor(folder, self._beside)
        self._tokens = _tokens(config)
        self._device = device
        cut = ", of long audio the middle" if self._beside == "audio" else ""
        self.name = f"transformers {self._family}: {name}{cut}"
        self.modalities = tuple(sorted((self._beside, "text")))
        self.weights_sha256 = folder_digest(folder)
        self.licence = folder_licence(folder)
        self.dim = self.encode("text", [self.read("text", "a")]).shape[1]

    def read(self, modality: str, item: str | Path) -> Features:
        """Return one item's features."""
        if modality == "text":
            return self._read_text(str(item))
        if modality == "audio":
            return self._read_audio(Path(item))
        found = self._processor(images=read_image(Path(item)), return_tensors="np")
        return {"pixel_values": found["pixel_values"][0]}

    def _read_text(self, caption: str) -> Features:
        """Return tokens, cut or padded to one length, so that a batch changes nothing."""
        length = {"truncation": True, "padding": "max_length", "max_length": self._tokens}
        found = self._tokenizer(caption, return_tensors="np", **length)
        masked = self._family != "siglip"  # which was trained on padding as on any token
        names = ("input_ids", "attention_mask") if masked else ("input_ids",)
        return {name: found[name][0] for name in names}

    def _read_audio(self, path: Path) -> Features:
        wave = read_audio(path, self._processor.sampling_rate)
        over = max(len(wave) - self._processor.nb_max_samples, 0)
        wave = wave[over // 2 : over // 2 + self._processor.nb_max_samples]
        rate = self._processor.sampling_rate
        found = self._processor(wave, sampling_rate=rate, return_tensors="np")
        # The extractor calls one clip of a batch long, at random, if none is.
        return {"input_features": found["input_features"][0], "is_longer": np.array([False])}

    def encode(self, modality: str, batch: Sequence[Features]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        embed = getattr(self._model, f"get_{modality}_features")
        stacked = {name: np.stack([item[name] for item in batch]) for name in batch[0]}
        with torch.inference_mode():
            inputs = {k: torch.from_numpy(v).to(self._device) for k, v in stacked.items()}
            found = embed(**inputs)
        rows = found if isinstance(found, torch.Tensor) else found.pooler_output  # 4.x, or 5
        return rows.float().cpu().numpy()


def _tokens(config: Any) -> int:
    if config.model_type == "clap":
        return min(CLAP_TOKENS, config.text_config.max_position_embeddings - 2)
    return config.text_config.max_position_embeddings


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # of several libraries, by what is broken
        raise FreeBindError(
            "a model cannot be loaded",
            where=folder,
            expected="the folder of a whole transformers model and its processor",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        ) from error


def _load_processor(folder: Path, modality: str) -> Any:
    """Load what prepares pictures or sound; pictures by Pillow, also where torchvision is."""
    if modality == "audio":
        return _load(transformers.AutoFeatureExtractor, folder)
    pillow = {"backend": "pil"} if _major() >= 5 else {"use_fast": False}
    return _load(transformers.AutoImageProcessor, folder, **pillow)


def _major() -> int:
    return int(transformers.__version__.split(".")[0])
