"""ImageBind's towers by the authors' package ``imagebind`` (facebookresearch/ImageBind).

For users who want the authors' code to compute the rows. Items are read by our code: the package's
loaders give the same pixels and ids, and spectrograms within 5e-3, but they stop at the first bad
file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from encoders_torch.explain import explained
from encoders_torch.imagebind.checkpoint import ROLES, Checkpoint, of_towers, require_same
from encoders_torch.imagebind.encoder import ImageBind
from encoders_torch.imagebind.towers import CONTEXT


class UpstreamTower(nn.Module):
    """One modality of the package's model, called like our towers.

    Args:
        model: The package's model.
        name: Name of the modality in keys. The model's other modalities are dropped.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name
        for role in ROLES:
            modules = getattr(model, f"modality_{role}")
            setattr(model, f"modality_{role}", nn.ModuleDict({name: modules[name]}))

    def forward(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Return unit rows. The package multiplies them by a fixed scale, which is dropped."""
        if self.name == "text":
            inputs = pad(inputs, (0, CONTEXT - inputs.shape[1]))  # it takes uncut captions only
        return normalize(self.model({self.name: inputs})[self.name].float(), dim=1)


class UpstreamCheckpoint(Checkpoint):
    """A checkpoint whose towers are the package's.

    Raises:
        FreeBindError: The package cannot be imported; or see ``Checkpoint``.
    """

    def __init__(self, path: Path) -> None:
        _package()
        super().__init__(path)

    def tower(self, name: str) -> nn.Module:
        """Return a tower in float32, on the CPU.

        Raises:
            FreeBindError: The package has another model.
        """
        model = _package().ImageBindModel(**self._arguments())
        require_same(of_towers(model.state_dict()), self.state, self.path)
        model.load_state_dict(self.state, strict=False)  # the keys were checked
        return UpstreamTower(model, name)

    def _arguments(self) -> dict[str, int]:
        arguments = {"out_embed_dim": self.dim}
        for name, size in self.sizes.items():
            arguments |= {
                f"{name}_embed_dim": size.width,
                f"{name}_num_blocks": size.depth,
                f"{name}_num_heads": size.heads,
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

    computed_by, opens = "package imagebind", UpstreamCheckpoint
