"""ImageBind's towers by the authors' package ``imagebind`` (facebookresearch/ImageBind).

For users who want the authors' code to compute the rows. Items are read by our code: the package's
loaders give the same pixels and ids, and spectrograms within 5e-3, but they ignore a picture's
EXIF orientation and stop at the first bad file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from encoders_torch.explain import explained
from encoders_torch.imagebind.checkpoint import of_towers, read_towers, require_same
from encoders_torch.imagebind.encoder import ImageBind
from encoders_torch.imagebind.sizes import Sizes, sizes_of


class UpstreamTowers(nn.Module):
    """The package's model, called like ``Towers``. Its rows are unit rows times a fixed scale."""

    def __init__(self, model: nn.Module, dim: int) -> None:
        super().__init__()
        self.model, self.dim = model, dim

    def forward(self, modality: str, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        return self.model({modality: inputs})[modality]


def load_upstream(path: Path) -> UpstreamTowers:
    """Load a checkpoint into the package's model, in float32, on the CPU.

    Other modalities keep their random weights; they are never used.

    Raises:
        FreeBindError: The package cannot be imported; or see ``load_towers``.
    """
    package, state = _package(), read_towers(path)
    sizes = sizes_of(state, path)
    model = package.ImageBindModel(**_arguments(sizes))
    require_same(of_towers(model.state_dict()), state, path)
    model.load_state_dict(state, strict=False)  # the keys were checked
    return UpstreamTowers(model, sizes.dim).eval().requires_grad_(False)


def _arguments(sizes: Sizes) -> dict[str, int]:
    arguments = {"out_embed_dim": sizes.dim}
    for name in ("vision", "text", "audio"):
        tower = getattr(sizes, name)
        arguments |= {
            f"{name}_embed_dim": tower.width,
            f"{name}_num_blocks": tower.depth,
            f"{name}_num_heads": tower.heads,
        }
    return arguments


def _package() -> Any:
    with explained(
        "the package imagebind cannot be imported",
        expected="an environment of its own, with facebookresearch/ImageBind from GitHub",
        fix="pip install git+https://github.com/facebookresearch/ImageBind (licence "
        "CC-BY-NC-SA-4.0), or leave out --backend",
    ):
        from imagebind.models import imagebind_model
    return imagebind_model


class UpstreamImageBind(ImageBind):
    """``imagebind`` with the package's towers."""

    computed_by = "package imagebind"

    def _load(self, path: Path) -> Any:
        return load_upstream(path)
