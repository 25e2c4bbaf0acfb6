"""The displacement mixture in torch, to be tuned with an encoder under it: BatchNorm folded.

Inference takes running statistics, so a BatchNorm is affine and part of the Linear before it. That
is what is tuned: an audio batch alone would shift statistics that were taken over all modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from fb_jax.banks import files
from fb_jax.errors import FreeBindError

EPSILON = 1e-5
"""Of the projectors' BatchNorm."""

FORMAT = ("freebind-space", 1)
SPACE_FILE, WEIGHTS_FILE = "space.json", "weights.safetensors"
"""Of a fused space's folder (docs/spaces.md)."""


class Mixture(nn.Module):
    """Psi: the mean of the members' unit outputs [P, C], then L2 norm [C].

    Args:
        members: Projectors.
        dim_in: Of the source space.
        hidden: Their width.
        dim: Of the target space.
    """

    def __init__(self, members: int, dim_in: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.dim_in, self.dim = dim_in, dim
        self.weight_in = nn.Parameter(torch.empty(members, dim_in, hidden))
        self.bias_in = nn.Parameter(torch.empty(members, 1, hidden))
        self.weight_out = nn.Parameter(torch.empty(members, hidden, dim))
        self.bias_out = nn.Parameter(torch.empty(members, 1, dim))

    def forward(self, rows: Float[Tensor, "b d_in"]) -> Float[Tensor, "b d"]:
        """Return unit rows of the target space.

        Args:
            rows: ``[b, d_in]`` unit rows.
        """
        hidden = torch.relu(rows @ self.weight_in + self.bias_in)
        outputs = normalize(hidden @ self.weight_out + self.bias_out, dim=-1)
        return normalize(outputs.mean(dim=0), dim=-1)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Mixture:
        """Return the mixture of a state dict, whose shapes tell its own."""
        members, dim_in, hidden = state["weight_in"].shape
        made = cls(members, dim_in, hidden, state["weight_out"].shape[2])
        made.load_state_dict(state)
        return made


def folded(
    kernel: Float[Tensor, "p rows columns"],
    scale: Float[Tensor, "p columns"],
    shift: Float[Tensor, "p columns"],
    mean: Float[Tensor, "p columns"],
    var: Float[Tensor, "p columns"],
) -> tuple[Float[Tensor, "p rows columns"], Float[Tensor, "p 1 columns"]]:
    """Return weight and bias of a Linear without bias and the BatchNorm behind it, as float32."""
    kernel, scale, shift, mean, var = (x.double() for x in (kernel, scale, shift, mean, var))
    gain = scale / torch.sqrt(var + EPSILON)
    return (kernel * gain[:, None]).float(), (shift - mean * gain)[:, None].float()


@dataclass(frozen=True)
class Displacement:
    """The last stage of a fused space that is a displacement.

    Attributes:
        name: Of the space: the product's.
        unified: Name of the space that is projected.
        expert: Name of the expert.
        shared: Modalities that the expert has: no encoder of these is tuned.
        mixture: Its projectors.
        digest: Of all that its fused rows depend on; fused banks name it.
        sha256: Of the folder's ``space.json``.
    """

    name: str
    unified: str
    expert: str
    shared: tuple[str, ...]
    mixture: Mixture
    digest: str
    sha256: str


def read_displacement(folder: Path) -> Displacement:
    """Read the folder of a fused space; neither JAX nor a pickle is involved.

    Args:
        folder: What ``train.py --product internvl_ib`` or ``freebind export-space`` wrote.

    Raises:
        FreeBindError: It is no fused space, is damaged, or its one stage is no displacement.
    """
    about = _about(folder)
    try:
        (stage,) = about["stages"]
        (bond,) = stage["bonds"]
        if bond["kind"] != "displacement":
            raise ValueError(bond["kind"])
        return Displacement(
            name=stage["name"],
            unified=bond["unified"],
            expert=bond["expert"],
            shared=tuple(bond["shared"]),
            mixture=_mixture(_weights(folder, about), f"0.{bond['expert']}."),
            digest=about["digest"],
            sha256=about["sha256"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FreeBindError(
            "this fused space is no displacement",
            where=folder,
            expected="one stage with one displacement, as of internvl_ib",
            got=repr(error),
        ) from error


def _about(folder: Path) -> dict[str, Any]:
    where = folder / SPACE_FILE
    if not where.is_file():
        raise FreeBindError(
            "this is no fused space",
            where=folder,
            expected=f"a folder with {SPACE_FILE}",
            fix="train.py --product internvl_ib makes one, runs/internvl_ib/space",
        )
    about: dict[str, Any] = files.read_json(where)
    if not isinstance(about, dict) or (about.get("format"), about.get("version")) != FORMAT:
        raise FreeBindError("this is no fused space of this version", where=where, expected=FORMAT)
    plain = {name: value for name, value in about.items() if name != "sha256"}
    if files.sha256_of_json(plain) != about.get("sha256"):
        raise FreeBindError("this file was altered", where=where)
    return about


def _weights(folder: Path, about: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / WEIGHTS_FILE
    if files.sha256_of(path) != about["weights"]["sha256"]:
        raise FreeBindError("the weights were altered", where=path)
    return load_file(path)


def _mixture(tensors: Mapping[str, Tensor], prefix: str) -> Mixture:
    state = {}
    for place in ("in", "out"):
        names = ("norm_{}.scale", "norm_{}.shift", "norm_{}.mean", "norm_{}.var")
        leaves = [tensors[prefix + name.format(place)] for name in names]
        kernel = tensors[f"{prefix}linear_{place}.kernel"]
        state[f"weight_{place}"], state[f"bias_{place}"] = folded(kernel, *leaves)
    return Mixture.of(state)
