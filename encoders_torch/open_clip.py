"""Any model of open_clip, by its architecture and weights: ``open_clip:ARCH/TAG``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from encoders_torch.media import read_image
from fb_jax.banks import files
from fb_jax.errors import FreeBindError, unknown


class OpenClip:
    """A model of open_clip, as ``encoders_torch.export`` takes it.

    Args:
        name: ``ARCH/TAG``, as ``ViT-B-32/laion2b_s34b_b79k``; ``ARCH`` alone with ``weights``.
        weights: A checkpoint; None downloads the tag's.
        device: Of torch.

    Raises:
        FreeBindError: open_clip does not import, there is no such model, or its weights are not
            here or not its own.
    """

    modalities = ("image", "text")

    def __init__(self, name: str, weights: Path | None = None, device: str = "cpu") -> None:
        open_clip = _import_open_clip()
        arch, _, tag = name.partition("/")
        if arch not in open_clip.list_models():
            raise unknown("architecture", arch, open_clip.list_models(), "open_clip")
        checkpoint = weights or _download(open_clip, arch, tag)
        self._model, self._prepare = _load(open_clip, arch, checkpoint)
        self._model.eval().requires_grad_(False).to(device)
        self._tokenize = open_clip.get_tokenizer(arch)
        self._device = device
        self.name = f"open_clip {name}"
        self.weights_sha256 = files.sha256_of(checkpoint)
        self.licence = "unknown"  # each tag's own; open_clip does not tell
        self.dim = self.encode("text", [self.read("text", "a")]).shape[1]

    def read(self, modality: str, item: str | Path) -> np.ndarray:
        """Return one item's pixels, or its tokens."""
        if modality == "text":
            return self._tokenize([str(item)])[0].numpy()
        return self._prepare(read_image(Path(item))).numpy()

    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        embed = self._model.encode_text if modality == "text" else self._model.encode_image
        with torch.inference_mode():
            return embed(torch.from_numpy(np.stack(batch)).to(self._device)).float().cpu().numpy()


def _import_open_clip() -> ModuleType:
    try:
        import open_clip
    except Exception as error:  # a torchvision of another build raises RuntimeError
        raise FreeBindError(
            "open_clip cannot be imported",
            expected="open_clip_torch, and a torchvision that was built for this torch",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="pip install open_clip_torch; on a machine without a GPU, take torch and "
            "torchvision both from https://download.pytorch.org/whl/cpu",
        ) from error
    return open_clip


def _download(open_clip: Any, arch: str, tag: str) -> Path:
    """Return the checkpoint of a tag, which open_clip knows where to get."""
    known = open_clip.list_pretrained_tags_by_model(arch)
    if tag not in known:
        raise unknown(f"tag of {arch}", tag, known, "open_clip")
    source = open_clip.get_pretrained_cfg(arch, tag)
    try:
        return Path(open_clip.download_pretrained(source))
    except Exception as error:  # of several libraries, by how the network fails
        name = source.get("hf_hub") or source.get("url")
        raise FreeBindError(
            "the weights are not here, and cannot be downloaded",
            where=f"open_clip {arch}/{tag}",
            expected=f"{name} (licence: see its model card)",
            got=" ".join(str(error).split())[:300],
            fix="get the checkpoint where there is a network, then give --weights FILE",
        ) from error


def _load(open_clip: Any, arch: str, checkpoint: Path) -> tuple[Any, Any]:
    if not checkpoint.is_file():
        raise FreeBindError(
            "there is no such checkpoint",
            where=checkpoint,
            expected=f"weights of open_clip's {arch}",
            fix=f"open_clip:{arch}/TAG without --weights gets them (licence: see its model card)",
        )
    try:
        model, _, prepare = open_clip.create_model_and_transforms(arch, pretrained=str(checkpoint))
    except Exception as error:  # torch's, pickle's or open_clip's, by what is broken
        raise FreeBindError(
            "a checkpoint cannot be loaded",
            where=checkpoint,
            expected=f"weights of open_clip's {arch}",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        ) from error
    return model, prepare
