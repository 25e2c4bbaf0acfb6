"""Any model of open_clip, by its architecture and weights: ``open_clip:ARCH/TAG``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.func import functional_call

from encoders_torch.downloads import Download
from encoders_torch.explain import explained
from encoders_torch.media import Media, as_media, read_image
from encoders_torch.pixels import Normalisation
from encoders_torch.torch_encoder import Precision, TorchEncoder
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once, unknown

PREPARED_BY = {
    "image_mean": "mean",
    "image_std": "std",
    "image_interpolation": "interpolation",
    "image_resize_mode": "resize_mode",
}
"""open_clip's keywords for preparing pictures, and what a tag calls them."""


class OpenClip(TorchEncoder):
    """A model of open_clip, as a ``FrozenEncoder``.

    Pictures are prepared as the tag says, also if ``weights`` are given.

    Args:
        name: ``ARCH/TAG``, such as ``ViT-B-32/laion2b_s34b_b79k``; ``ARCH`` alone with ``weights``.
        weights: A checkpoint. None downloads the tag's.
        device: Of torch.
        precision: Of the arithmetic.

    Raises:
        FreeBindError: open_clip cannot be imported, there is no such model, or its weights are
            missing or of another model.
    """

    def __init__(
        self,
        name: str,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        open_clip = _import()
        arch, _, tag = name.partition("/")
        about = _tag(open_clip, arch, tag, weights)
        checkpoint = _checkpoint(open_clip, name, about, weights)
        model, prepare, how = _load(open_clip, arch, about, checkpoint)
        self._prepare, self._normalise = parted(prepare)
        self._tokenize = open_clip.get_tokenizer(arch)
        if not tag:
            notice_once(f"open_clip:{arch} without a tag: pictures {describe(model)}")
        super().__init__(
            _Towers(model),
            device=device,
            precision=precision,
            name=f"open_clip {name}{how}",
            dim=open_clip.get_model_config(arch)["embed_dim"],
            modalities=("image", "text"),
            weights_sha256=files.remembered_sha256(checkpoint),
            licence="unknown",  # every tag has its own, and open_clip does not list them
        )

    def read(self, modality: str, item: str | Path | Media) -> np.ndarray:
        """Return one item's pixels in 8 bits, or its tokens."""
        if modality == "text":
            return self._tokenize([str(item)])[0].numpy()
        return pixels(self._prepare, read_image(as_media(item)))

    def collate(self, modality: str, reads: Sequence[Any]) -> Tensor:
        """Return a batch; captions are cut to the longest, where no row depends on the rest."""
        batch: Tensor = super().collate(modality, reads)
        if modality != "text":
            return batch
        return batch[:, : self.model.needed(batch)].contiguous()

    def forward(self, modality: str, batch: Tensor) -> Float[Tensor, "b d"]:
        """Return the model's rows."""
        if modality == "text":
            return self.model.encode_text(batch)
        return self.model.encode_image(self._normalise(batch, self.dtype))


class _Towers(nn.Module):
    """A model of open_clip that also takes captions that are cut.

    open_clip's own models take only captions of full length: positions and mask have that length.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        custom = hasattr(model, "text")
        self._prefix = "model.text." if custom else "model."
        text = model.text if custom else model
        self._pool = getattr(text, "pool_type" if custom else "text_pool_type", None)
        self._end = getattr(text, "eos_id" if custom else "text_eos_id", None)
        causal = getattr(text, "attn_mask", None) is not None
        self._cuts = causal and getattr(text, "cls_emb", None) is None  # CoCa's comes last
        self._cuts &= self._pool in ("argmax", "eos")

    def encode_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return the rows of pictures."""
        return self.model.encode_image(pixels)

    def forward(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Return the rows of captions of full length."""
        return self.model.encode_text(tokens)

    def encode_text(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Return the rows of captions, also of captions that are cut."""
        if not self._cuts:
            return self(tokens)
        n = tokens.shape[1]
        positions, mask = f"{self._prefix}positional_embedding", f"{self._prefix}attn_mask"
        cut = {
            positions: self.get_parameter(positions)[:n],
            mask: self.get_buffer(mask)[:n, :n],
        }
        return functional_call(self, cut, (tokens,))

    def needed(self, tokens: Int64[Tensor, "b n"]) -> int:
        """Return the length that captions may be cut to: no row depends on what comes later."""
        if not self._cuts:
            return tokens.shape[1]
        marked = tokens if self._pool == "argmax" else tokens.eq(int(self._end or 0)).int()
        return int(marked.argmax(dim=1).max()) + 1


def _import() -> Any:
    with explained(
        "open_clip cannot be imported",
        expected="open_clip_torch, and a torchvision that was built for this torch",
        fix="pip install open_clip_torch; on a machine without a GPU, take both torch and "
        "torchvision from https://download.pytorch.org/whl/cpu",
    ):
        import open_clip

        return open_clip


def _tag(open_clip: Any, arch: str, tag: str, weights: Path | str | None) -> Mapping[str, Any]:
    """Return what open_clip knows about a tag; nothing where weights are given without one."""
    if arch not in open_clip.list_models():
        raise unknown("architecture", arch, open_clip.list_models(), "open_clip")
    known = open_clip.list_pretrained_tags_by_model(arch)
    if tag not in known and (tag or weights is None):
        raise unknown(f"tag of {arch}", tag, known, "open_clip")
    return open_clip.get_pretrained_cfg(arch, tag) if tag else {}


def _checkpoint(
    open_clip: Any, name: str, about: Mapping[str, Any], weights: Path | str | None
) -> Path:
    arch = name.partition("/")[0]
    return Download(
        space=f"open_clip {name}",
        what=about.get("hf_hub") or about.get("url") or f"a checkpoint of open_clip's {arch}",
        licence="see its model card",
        get=lambda: open_clip.download_pretrained(about),
        by_hand=f"give --weights FILE; with a network, open_clip:{arch}/TAG downloads it",
    ).file(weights)


def _load(
    open_clip: Any, arch: str, about: Mapping[str, Any], checkpoint: Path
) -> tuple[Any, Any, str]:
    """Load a model; return it, how it prepares pictures, and what differs from its architecture."""
    with explained(
        "a checkpoint cannot be loaded", where=checkpoint, expected=f"weights of open_clip's {arch}"
    ):
        model, prepare = create(open_clip, arch, about, str(checkpoint))
    plain = open_clip.transform.PreprocessCfg(size=model.visual.preprocess_cfg["size"])
    differs = model.visual.preprocess_cfg != vars(plain)
    how = f", pictures {describe(model)}" if differs else ""
    return model, prepare, f"{_gelu(open_clip, arch, about)}{how}"


def create(
    open_clip: Any, arch: str, about: Mapping[str, Any], checkpoint: str | None
) -> tuple[Any, Any]:
    """Create a model and its preparation of pictures as its tag says."""
    prepared = {keyword: about.get(name) for keyword, name in PREPARED_BY.items()}
    quick = bool(about.get("quick_gelu"))
    model, _, prepare = open_clip.create_model_and_transforms(
        arch, pretrained=checkpoint, force_quick_gelu=quick, weights_only=True, **prepared
    )
    return model, prepare


def _gelu(open_clip: Any, arch: str, about: Mapping[str, Any]) -> str:
    """Return that the tag's activation is not that of its architecture, which open_clip takes."""
    own = open_clip.get_model_config(arch).get("quick_gelu", False)
    return ", with QuickGELU" if about.get("quick_gelu") and not own else ""


def describe(model: Any) -> str:
    """Return how a model's pictures are prepared."""
    how = model.visual.preprocess_cfg
    numbers = " and ".join(str(tuple(round(x, 4) for x in how[key])) for key in ("mean", "std"))
    return f"{how['resize_mode']} {how['interpolation']} to {how['size']}, normalised by {numbers}"


def parted(prepare: Any) -> tuple[list[Any], Normalisation]:
    """Return open_clip's steps up to an image in 8 bits, and the normalisation after them."""
    *steps, to_tensor, last = prepare.transforms
    if not (type(to_tensor).__name__.endswith("ToTensor") and type(last).__name__ == "Normalize"):
        raise FreeBindError(
            "open_clip prepares pictures in another way than we know",
            expected="open_clip_torch 3.3: the last steps are ToTensor and Normalize",
            got=f"{to_tensor} and {last}",
        )
    return steps, Normalisation(tuple(last.mean), tuple(last.std))


def pixels(steps: Sequence[Any], image: Any) -> UInt8[np.ndarray, "3 h w"]:
    """Return a picture after the steps that ``parted`` returned."""
    for step in steps:
        image = step(image)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
