"""The tuned audio encoder, from ``encoders_torch.tune`` or from the authors' released file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import normalize

from encoders_torch.imagebind.audio import read_clips
from encoders_torch.imagebind.checkpoint import load_audio
from encoders_torch.imagebind.encoder import ABOUT
from encoders_torch.imagebind.tuned_release import read_released
from encoders_torch.imagebind.weights import LICENCE
from encoders_torch.media import Media, as_media
from encoders_torch.tensor_files import Described, with_prefix
from encoders_torch.torch_encoder import Precision, TorchEncoder
from encoders_torch.tuning.mixture import Mixture
from encoders_torch.tuning.model import ABOUT_FILE, TunedModel, read_tuned
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once, unknown


class Named(msgspec.Struct):
    """What a tuning starts from: an encoder or a space."""

    name: str


class Tuned(Described):
    """What ``tuned.json`` says about a tuned ImageBind."""

    encoder: Named
    space: Named
    licence: str


class TunedImageBind(TorchEncoder):
    """ImageBind's audio encoder, tuned into the space of a product, as a ``FrozenEncoder``.

    Args:
        weights: Folder that ``encoders_torch.tune`` wrote, or the authors' ``.pt`` file.
        device: Of torch.

    Raises:
        FreeBindError: There is none, it is damaged, or it has another layout.
    """

    def __init__(
        self,
        weights: Path | str | None = None,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        if weights is None or not (path := Path(weights)).exists():
            raise FreeBindError(
                "there is no tuned audio encoder",
                where=weights,
                expected="the folder that python -m encoders_torch.tune wrote, or the tuned audio "
                "encoder that FreeBind's authors released, a .pt file",
                fix="give it with --weights; it has the licence of ImageBind's weights",
            )
        model, about = (_load_folder if path.is_dir() else _load_released)(path)
        super().__init__(
            model,
            device=device,
            precision=precision,
            dim=model.mixture.dim,
            modalities=("audio",),
            **about,
        )

    def read(
        self, modality: str, item: str | Path | Media
    ) -> Float32[np.ndarray, "clips 1 bins frames"]:
        """Prepare a recording as ``ImageBind`` does.

        Raises:
            FreeBindError: It cannot be used, or the modality is not audio.
        """
        if modality != "audio":
            raise unknown("modality", modality, self.modalities)
        return read_clips(as_media(item))

    def forward(self, modality: str, batch: Tensor) -> Float[Tensor, "b d"]:
        """Return unit rows of the product's space."""
        return normalize(self.model(batch).float(), dim=1)


def _load_folder(folder: Path) -> tuple[TunedModel, dict[str, str]]:
    state, about = read_tuned(folder)
    fields = files.convert(about, Tuned, folder / ABOUT_FILE)
    trunk = load_audio(with_prefix(state, "trunk."), folder)
    return TunedModel(trunk, Mixture.of(with_prefix(state, "mixture."))), {
        "name": _name(fields, folder),
        "licence": fields.licence,
        "weights_sha256": fields.weights.sha256,
    }


def _name(tuned: Tuned, folder: Path) -> str:
    """Return the name for manifests; it also says if the clips are not those of the tuning."""
    into = f"audio tuned into {tuned.space.name}"
    if tuned.encoder.name.startswith(ABOUT):
        return f"{tuned.encoder.name}, {into}"
    notice_once(
        f"{folder}: it was tuned on other clips of recordings than ImageBind takes now: tune again"
    )
    return f"{ABOUT}, {into}, on the clips of: {tuned.encoder.name}"


def _load_released(path: Path) -> tuple[TunedModel, dict[str, str]]:
    return read_released(path), {
        "name": f"{ABOUT}, audio tuned by FreeBind's authors",
        "licence": LICENCE,
        "weights_sha256": files.remembered_sha256(path),
    }
