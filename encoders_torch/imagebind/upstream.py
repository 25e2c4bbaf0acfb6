"""ImageBind's towers by its own package ``imagebind`` (facebookresearch/ImageBind).

For who wants its code to make the rows. Items are read as for ``ImageBind``: the package's loaders
give the same pixels and ids, and spectrograms within 5e-3; but they turn no picture, and one bad
file ends them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from encoders_torch.imagebind.checkpoint import of_towers, read_state, require_same
from encoders_torch.imagebind.encoder import ABOUT, ImageBind
from encoders_torch.imagebind.sizes import Sizes, sizes_of
from fb_jax.errors import FreeBindError


class UpstreamTowers(nn.Module):
    """The package's model, called as ``Towers`` are; its rows are units times a fixed scale."""

    def __init__(self, model: nn.Module, dim: int) -> None:
        super().__init__()
        self.model, self.dim = model, dim

    def forward(self, modality: str, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        return self.model({modality: inputs})[modality]


def load_upstream(path: Path) -> UpstreamTowers:
    """Load a checkpoint into the package's model, in float32, on the CPU.

    Its other modalities stay as they are made: nothing asks for them.

    Raises:
        FreeBindError: The package does not import; or see ``load_towers``.
    """
    package, state = _package(), read_state(path)
    sizes = sizes_of(state, path)
    model = package.ImageBindModel(**_arguments(sizes))
    require_same(of_towers(model.state_dict()), state, path)
    model.load_state_dict(state, strict=False)  # the keys are known to be right
    return UpstreamTowers(model, sizes.dim).eval().requires_grad_(False)


def _arguments(sizes: Sizes) -> dict[str, int]:
    towers = {"vision": sizes.vision, "text": sizes.text, "audio": sizes.audio}
    found = {"out_embed_dim": sizes.dim}
    for name, tower in towers.items():
        found |= {
            f"{name}_embed_dim": tower.width,
            f"{name}_num_blocks": tower.depth,
            f"{name}_num_heads": tower.heads,
        }
    return found


def _package() -> Any:
    try:
        from imagebind.models import imagebind_model
    except Exception as error:  # a torchvision of another build raises RuntimeError
        raise FreeBindError(
            "the package imagebind cannot be imported",
            expected="an environment of its own, with facebookresearch/ImageBind of GitHub",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            fix="pip install git+https://github.com/facebookresearch/ImageBind (licence "
            "CC-BY-NC-SA-4.0), or leave out --backend",
        ) from error
    return imagebind_model


class UpstreamImageBind(ImageBind):
    """``imagebind`` by the package; else the same."""

    name = f"{ABOUT}, package imagebind"

    def _load(self, path: Path) -> Any:
        return load_upstream(path)
