"""Any model of open_clip, by its architecture and weights: ``open_clip:ARCH/TAG``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from encoders_torch.downloads import Download
from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.media import Media, as_media, read_image
from fb_jax import files
from fb_jax.errors import unknown


class OpenClip(FrozenEncoder):
    """A model of open_clip, as a ``FrozenEncoder``.

    Args:
        name: ``ARCH/TAG``, such as ``ViT-B-32/laion2b_s34b_b79k``; ``ARCH`` alone with ``weights``.
        weights: A checkpoint. None downloads the tag's.
        device: Of torch.

    Raises:
        FreeBindError: open_clip cannot be imported, there is no such model, or its weights are
            missing or of another model.
    """

    def __init__(self, name: str, weights: Path | str | None = None, device: str = "cpu") -> None:
        with explained(
            "open_clip cannot be imported",
            expected="open_clip_torch, and a torchvision that was built for this torch",
            fix="pip install open_clip_torch; on a machine without a GPU, take both torch and "
            "torchvision from https://download.pytorch.org/whl/cpu",
        ):
            import open_clip
        arch, _, tag = name.partition("/")
        if arch not in open_clip.list_models():
            raise unknown("architecture", arch, open_clip.list_models(), "open_clip")
        checkpoint = _find_checkpoint(open_clip, arch, tag, weights)
        self._model, self._prepare = _load(open_clip, arch, checkpoint)
        self._model.eval().requires_grad_(False).to(device)
        self._tokenize = open_clip.get_tokenizer(arch)
        self._device = device
        super().__init__(
            name=f"open_clip {name}",
            dim=self.encode("text", [self.read("text", "a")]).shape[1],
            modalities=("image", "text"),
            weights_sha256=files.remembered_sha256(checkpoint),
            licence="unknown",  # every tag has its own, and open_clip does not list them
        )

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Return one item's pixels, or its tokens."""
        if modality == "text":
            return self._tokenize([str(item)])[0].numpy()
        return self._prepare(read_image(as_media(item))).numpy()

    def collate(self, modality: str, reads: Sequence[Any]) -> list[Any]:
        """Return the items as they are."""
        return list(reads)

    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Return the model's rows."""
        embed = self._model.encode_text if modality == "text" else self._model.encode_image
        with torch.inference_mode():
            return embed(torch.from_numpy(np.stack(batch)).to(self._device)).float().cpu().numpy()


def _find_checkpoint(open_clip: Any, arch: str, tag: str, weights: Path | str | None) -> Path:
    known = open_clip.list_pretrained_tags_by_model(arch)
    if weights is None and tag not in known:
        raise unknown(f"tag of {arch}", tag, known, "open_clip")
    source = open_clip.get_pretrained_cfg(arch, tag) if weights is None else {}
    return Download(
        space=f"open_clip {arch}/{tag}".rstrip("/"),
        what=source.get("hf_hub") or source.get("url") or f"a checkpoint of open_clip's {arch}",
        licence="see its model card",
        get=lambda: open_clip.download_pretrained(source),
        by_hand=f"give --weights FILE; with a network, open_clip:{arch}/TAG downloads it",
    ).file(weights)


def _load(open_clip: Any, arch: str, checkpoint: Path) -> tuple[Any, Any]:
    expected = f"weights of open_clip's {arch}"
    with explained("a checkpoint cannot be loaded", where=checkpoint, expected=expected):
        model, _, prepare = open_clip.create_model_and_transforms(arch, pretrained=str(checkpoint))
    return model, prepare
