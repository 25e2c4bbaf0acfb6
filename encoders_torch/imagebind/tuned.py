"""The tuned audio encoder, from ``encoders_torch.tune`` or from the authors' released file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from jaxtyping import Float32

from encoders_torch.imagebind.audio import read_clips
from encoders_torch.imagebind.checkpoint import load_trunk
from encoders_torch.imagebind.encoder import ABOUT
from encoders_torch.imagebind.tuned_release import read_released
from encoders_torch.imagebind.weights import LICENCE
from encoders_torch.tensor_files import Described, with_prefix
from encoders_torch.tuning.mixture import Mixture
from encoders_torch.tuning.model import ABOUT_FILE, TunedModel, read_tuned
from fb_jax import files
from fb_jax.errors import FreeBindError, unknown


class Named(msgspec.Struct):
    """What a tuning starts from: an encoder or a space."""

    name: str


class Tuned(Described):
    """What ``tuned.json`` says about a tuned ImageBind."""

    encoder: Named
    space: Named
    licence: str


class TunedImageBind:
    """ImageBind's audio encoder, tuned into the space of a product, as a ``FrozenEncoder``.

    Args:
        weights: Folder that ``encoders_torch.tune`` wrote, or the authors' ``.pt`` file.
        device: Of torch.

    Raises:
        FreeBindError: There is none, it is damaged, or it has another layout.
    """

    modalities: tuple[str, ...] = ("audio",)

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        if weights is None or not (path := Path(weights)).exists():
            raise FreeBindError(
                "there is no tuned audio encoder",
                where=weights,
                expected="the folder that python -m encoders_torch.tune wrote, or the tuned audio "
                "encoder that FreeBind's authors released, a .pt file",
                fix="give it with --weights; it has the licence of ImageBind's weights",
            )
        (self._load_folder if path.is_dir() else self._load_released)(path)
        self.model.to(device).eval().requires_grad_(False)
        self.dim: int = self.model.mixture.dim
        self.device = device

    def _load_folder(self, folder: Path) -> None:
        state, about = read_tuned(folder)
        fields = files.convert(about, Tuned, folder / ABOUT_FILE)
        trunk = load_trunk(with_prefix(state, "trunk."), folder)
        self.model = TunedModel(trunk, Mixture.of(with_prefix(state, "mixture.")))
        self.name = f"{fields.encoder.name}, audio tuned into {fields.space.name}"
        self.licence, self.weights_sha256 = fields.licence, fields.weights.sha256

    def _load_released(self, path: Path) -> None:
        self.model = read_released(path)
        self.name = f"{ABOUT}, audio tuned by FreeBind's authors"
        self.licence, self.weights_sha256 = LICENCE, files.sha256_of(path)

    def read(self, modality: str, item: str | Path) -> Float32[np.ndarray, "clips 1 bins frames"]:
        """Prepare a recording as ``ImageBind`` does.

        Raises:
            FreeBindError: It cannot be used, or the modality is not audio.
        """
        if modality != "audio":
            raise unknown("modality", modality, self.modalities)
        return read_clips(Path(item))

    @torch.inference_mode()
    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Encode several recordings that ``read`` returned; unit rows of the product's space."""
        if modality != "audio":
            raise unknown("modality", modality, self.modalities)
        inputs = torch.from_numpy(np.stack(batch)).to(self.device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self.model(inputs).cpu().numpy()
