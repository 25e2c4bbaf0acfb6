"""A tuned encoder: a trunk and its own copy of the displacement mixture on top [C]; its folder.

FOLDER/tuned.json             what it was made from, and how
FOLDER/weights.safetensors    "trunk.KEY", "mixture.KEY": float32
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from encoders_torch.mixture import Mixture
from fb_jax.banks import files
from fb_jax.errors import FreeBindError

FORMAT, VERSION = "freebind-tuned", 1
ABOUT_FILE, WEIGHTS_FILE = "tuned.json", "weights.safetensors"


class Tuned(nn.Module):
    """From an encoder's inputs to unit rows of a product's space.

    Args:
        trunk: From a batch of inputs to unit rows ``[b, d_in]`` of the unified space.
        mixture: From those to unit rows ``[b, d]``.
    """

    def __init__(self, trunk: nn.Module, mixture: Mixture) -> None:
        super().__init__()
        self.trunk, self.mixture = trunk, mixture

    def forward(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        return self.mixture(self.trunk(inputs))


def write_tuned(folder: Path, tuned: Tuned, about: Mapping[str, Any]) -> None:
    """Write a tuned encoder; ``tuned.json`` comes last, so that a folder with it is whole."""
    state = {key: value.detach().cpu().contiguous() for key, value in tuned.state_dict().items()}
    content = safetensors.torch.save(state)
    files.write_atomic(folder / WEIGHTS_FILE, lambda file: file.write(content))
    weights = {"bytes": len(content), "sha256": files.sha256_of_bytes(content)}
    told = {"format": FORMAT, "version": VERSION, **about, "weights": weights}
    files.write_json(folder / ABOUT_FILE, told)


def read_tuned(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tuned`` wrote: the state dict of ``Tuned``, and what is told of it.

    Raises:
        FreeBindError: It is not there, is unfinished or damaged, or of another version.
    """
    where = folder / ABOUT_FILE
    if not where.is_file():
        raise FreeBindError(
            "there is no tuned encoder here",
            where=folder,
            expected=f"a folder with {ABOUT_FILE}",
            fix="python -m encoders_torch.tune makes it; one that was interrupted goes on",
        )
    about: dict[str, Any] = files.read_json(where)
    found = (about.get("format"), about.get("version"))
    if found != (FORMAT, VERSION):
        raise FreeBindError(
            "this tuned encoder has another format",
            where=where,
            expected=f"{FORMAT}, version {VERSION}",
            got=f"{found[0]}, version {found[1]}",
        )
    path = folder / WEIGHTS_FILE
    if not path.is_file() or files.sha256_of(path) != about["weights"]["sha256"]:
        raise FreeBindError("the weights were altered or are missing", where=path)
    try:
        return safetensors.torch.load_file(path), about
    except SafetensorError as error:
        raise FreeBindError("the weights cannot be read", where=path, got=error) from error


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the part of a state dict whose keys have a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
