"""The tuned model: an audio trunk with a copy of the displacement mixture on top [C]. Its folder:

FOLDER/tuned.json             what it was trained from, and all settings
FOLDER/weights.safetensors    "trunk.KEY" and "mixture.KEY", float32
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from encoders_torch.tensor_files import WEIGHTS_FILE, read_folder, write_state
from encoders_torch.tuning.mixture import Mixture
from fb_jax import files

FORMAT = ("freebind-tuned", 1)
ABOUT_FILE = "tuned.json"


class TunedModel(nn.Module):
    """Maps an encoder's inputs to unit rows of a product's space.

    Args:
        trunk: Maps a batch of inputs to unit rows ``[b, d_in]`` of the unified space.
        mixture: Maps those to unit rows ``[b, d]``.
    """

    def __init__(self, trunk: nn.Module, mixture: Mixture) -> None:
        super().__init__()
        self.trunk, self.mixture = trunk, mixture

    def forward(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        return self.mixture(self.trunk(inputs).to(self.mixture.weight_in.dtype))


def write_tuned(folder: Path, model: TunedModel, about: Mapping[str, Any]) -> None:
    """Write a tuned model; ``tuned.json`` comes last, so a folder with it is complete."""
    weights = write_state(folder / WEIGHTS_FILE, model.state_dict())
    head = dict(zip(("format", "version"), FORMAT, strict=True))
    files.write_json(folder / ABOUT_FILE, {**head, **about, "weights": weights})


def read_tuned(folder: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state dict of a ``TunedModel``, and the content of ``tuned.json``.

    Raises:
        FreeBindError: The folder holds none, is unfinished or damaged, or has another version.
    """
    fix = "python -m encoders_torch.tune makes one, and continues one that was interrupted"
    about, state = read_folder(Path(folder) / ABOUT_FILE, "tuned encoder", FORMAT, fix)
    return state, about
