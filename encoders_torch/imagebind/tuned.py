"""The tuned audio encoder: what ``encoders_torch.tune`` made, or the authors' released file [C].

Theirs is one state dict: ImageBind's audio tower under ``ib.``, seven projectors under
``ib_head.projectors.{0..6}.``, whose order does not matter to their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.functional import normalize

from encoders_torch.imagebind.audio import read_clips
from encoders_torch.imagebind.checkpoint import of_towers, require_same
from encoders_torch.imagebind.sizes import audio_sizes
from encoders_torch.imagebind.towers import Towers
from encoders_torch.mixture import Mixture, folded
from encoders_torch.released import read_state
from encoders_torch.tuned import Tuned, below, read_tuned
from fb_jax.banks import files
from fb_jax.errors import FreeBindError, unknown

PARTS = ("modality_preprocessors", "modality_trunks", "modality_heads")
MEMBERS = 7
LINEARS, NORMS = ("mlps.0", "mlps.3"), ("mlps.1", "mlps.4")
VECTORS = ("weight", "bias", "running_mean", "running_var")


class AudioTrunk(nn.Module):
    """ImageBind's audio tower alone, under the keys that it has in the whole model.

    Args:
        towers: Whose audio tower it is; shared, not copied.
    """

    def __init__(self, towers: nn.Module) -> None:
        super().__init__()
        for part in PARTS:
            self.add_module(part, nn.ModuleDict({"audio": getattr(towers, part)["audio"]}))

    def forward(self, clips: Float[Tensor, "b clips 1 bins frames"]) -> Float[Tensor, "b d"]:
        """Return unit rows: the mean of the clips' unit embeddings, then L2 norm."""
        preprocessor, trunk, head = (getattr(self, part)["audio"] for part in PARTS)
        tokens = trunk(preprocessor(clips.flatten(0, 1)), None)
        rows = normalize(head(tokens[:, 0]), dim=1)
        return normalize(rows.unflatten(0, clips.shape[:2]).mean(dim=1), dim=1)


class TunedImageBind:
    """ImageBind's audio encoder, tuned into the space of a product, as a ``FrozenEncoder``.

    Args:
        weights: Folder that ``encoders_torch.tune`` wrote, or the authors' ``.pt`` file.
        device: Of torch.

    Raises:
        FreeBindError: There is none, it is damaged, or it is of another layout.
    """

    modalities: tuple[str, ...] = ("audio",)

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        if weights is None or not weights.exists():
            raise FreeBindError(
                "there is no tuned audio encoder",
                where=weights,
                expected="the folder that python -m encoders_torch.tune wrote, or the tuned audio "
                "encoder that FreeBind's authors released, a .pt file",
                fix="give it with --weights; its licence is that of ImageBind's weights",
            )
        load = _ours if weights.is_dir() else _theirs
        tuned, self.name, self.licence, self.weights_sha256 = load(weights)
        self.tuned = tuned.to(device).eval().requires_grad_(False)
        self.dim: int = self.tuned.mixture.dim
        self.device = device

    def read(self, modality: str, item: str | Path) -> Float32[np.ndarray, "clips 1 bins frames"]:
        """Prepare a recording as ``ImageBind`` does.

        Raises:
            FreeBindError: It cannot be used, or there is no such modality.
        """
        if modality != "audio":
            raise unknown("modality", modality, self.modalities)
        return read_clips(Path(item))

    @torch.inference_mode()
    def encode(self, modality: str, batch: Sequence[np.ndarray]) -> Float32[np.ndarray, "b d"]:
        """Encode what ``read`` gave; unit rows of the product's space."""
        if modality != "audio":
            raise unknown("modality", modality, self.modalities)
        inputs = torch.from_numpy(np.stack(batch)).to(self.device)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self.tuned(inputs).cpu().numpy()


def _ours(folder: Path) -> tuple[Tuned, str, str, str]:
    state, about = read_tuned(folder)
    tuned = Tuned(load_trunk(below(state, "trunk."), folder), Mixture.of(below(state, "mixture.")))
    name = f"{about['encoder']['name']}, audio tuned into {about['space']['name']}"
    return tuned, name, about["licence"], about["weights"]["sha256"]


def _theirs(path: Path) -> tuple[Tuned, str, str, str]:
    from encoders_torch.imagebind.encoder import ABOUT
    from encoders_torch.imagebind.weights import LICENCE

    state = {key: torch.from_numpy(array) for key, array in read_state(path).items()}
    trunk = load_trunk(of_towers(below(state, "ib.")), path)
    tuned = Tuned(trunk, released_mixture(state, path))
    surplus = [key for key in state if not key.startswith(("ib.", "ib_head.projectors."))]
    _require_keys(surplus, [], path)
    return tuned, f"{ABOUT}, audio tuned by FreeBind's authors", LICENCE, files.sha256_of(path)


def load_trunk(state: Mapping[str, Tensor], where: Path) -> AudioTrunk:
    """Return the audio tower of a state dict, float32.

    Raises:
        FreeBindError: Its keys or shapes are not those of ImageBind's audio tower.
    """
    with torch.device("meta"):  # no other tower takes memory
        trunk = AudioTrunk(Towers(audio_sizes(state, where)))
    require_same(trunk.state_dict(), state, where)
    trunk.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return trunk


def released_mixture(state: Mapping[str, Tensor], where: Path) -> Mixture:
    """Return the seven projectors of the authors' tuned encoder; a Linear's bias is folded in too.

    Raises:
        FreeBindError: A projector or a key is missing or too many, or shapes do not fit.
    """
    members = [below(state, f"ib_head.projectors.{i}.") for i in range(MEMBERS)]
    members = [{k.removeprefix("Head2."): v for k, v in member.items()} for member in members]
    numbers = {key.split(".")[2] for key in state if key.startswith("ib_head.projectors.")}
    _require_keys(numbers, map(str, range(MEMBERS)), where)
    for member in members:
        _require_keys(member, _keys(), where)
    try:
        layers = [_layer(members, *names) for names in zip(LINEARS, NORMS, strict=True)]
        names = ("weight_in", "bias_in", "weight_out", "bias_out")
        flat = [array for layer in layers for array in layer]
        return Mixture.of(dict(zip(names, flat, strict=True)))
    except RuntimeError as error:  # torch's, of shapes
        raise FreeBindError(
            "the projectors' arrays do not fit together", where=where, got=error
        ) from error


def _keys() -> list[str]:
    linears = [f"{linear}.{name}" for linear in LINEARS for name in ("weight", "bias")]
    norms = [f"{norm}.{name}" for norm in NORMS for name in (*VECTORS, "num_batches_tracked")]
    return linears + norms


def _layer(
    members: Sequence[Mapping[str, Tensor]], linear: str, norm: str
) -> tuple[Float[Tensor, "p rows columns"], Float[Tensor, "p 1 columns"]]:
    of = lambda key: torch.stack([member[key] for member in members])  # noqa: E731
    scale, shift, mean, var = (of(f"{norm}.{name}") for name in VECTORS)
    kernel = of(f"{linear}.weight").mT
    return folded(kernel, scale, shift, mean.double() - of(f"{linear}.bias").double(), var)


def _require_keys(found: object, wanted: object, where: Path) -> None:
    here, names = set(found), set(wanted)  # type: ignore[call-overload]
    if here != names:
        missing, extra = sorted(names - here), sorted(here - names)
        raise FreeBindError(
            "these are not the keys of a tuned audio encoder",
            where=where,
            expected="an audio tower under ib., seven projectors under ib_head.projectors.0 to 6",
            got=f"missing: {', '.join(missing[:5]) or 'none'}; too many: "
            f"{', '.join(extra[:5]) or 'none'}",
        )
