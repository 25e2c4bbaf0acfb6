"""Reads the displacement of a fused space's folder (docs/spaces.md), without JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from encoders_torch.explain import explained
from encoders_torch.tensor_files import read_folder, with_prefix
from encoders_torch.tuning.mixture import Mixture, folded
from fb_jax import files

FORMAT = ("freebind-space", 1)
SPACE_FILE = "space.json"


@dataclass(frozen=True)
class Displacement:
    """A fused space whose only stage is one displacement.

    Attributes:
        name: Of the fused space, such as ``internvl_ib``.
        unified: Name of the space that is projected.
        expert: Name of the expert space, into which it is projected.
        shared: Modalities that the expert has. Their encoders are not tuned.
        mixture: The projectors.
        digest: Of everything that fused rows depend on; fused banks name it.
        sha256: Of the folder's ``space.json``.
    """

    name: str
    unified: str
    expert: str
    shared: tuple[str, ...]
    mixture: Mixture
    digest: str
    sha256: str


def read_displacement(folder: Path | str) -> Displacement:
    """Read the folder of a fused space.

    Args:
        folder: Written by ``train.py --product internvl_ib`` or ``freebind export-space``.

    Raises:
        FreeBindError: It is no fused space, is damaged, or has other bonds than one displacement.
    """
    path = Path(folder) / SPACE_FILE
    fix = "train.py --product internvl_ib makes one: runs/internvl_ib/space"
    about, tensors = read_folder(path, "fused space", FORMAT, fix)
    with explained(
        "this fused space is no displacement",
        where=folder,
        expected="one stage with one displacement, as in internvl_ib",
    ):
        (stage,) = about["stages"]
        (bond,) = stage["bonds"]
        if bond["kind"] != "displacement":
            raise ValueError(bond["kind"])
        return Displacement(
            name=stage["name"],
            unified=bond["unified"],
            expert=bond["expert"],
            shared=tuple(bond["shared"]),
            mixture=_mixture(with_prefix(tensors, f"0.{bond['expert']}.")),
            digest=about["digest"],
            sha256=files.sha256_of_json(about),
        )


def _mixture(tensors: Mapping[str, Tensor]) -> Mixture:
    state = {}
    for layer in ("in", "out"):
        norm = [tensors[f"norm_{layer}.{name}"] for name in ("scale", "shift", "mean", "var")]
        folds = folded(tensors[f"linear_{layer}.kernel"], *norm)
        state[f"weight_{layer}"], state[f"bias_{layer}"] = folds
    return Mixture.of(state)
