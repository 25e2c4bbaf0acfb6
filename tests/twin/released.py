"""The released projectors and their inference [C], from the layouts of the files alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Head2(nn.Module):
    """Linear - BatchNorm - ReLU - Linear - BatchNorm, with biases, as ``mlps``."""

    def __init__(self, d_in: int, hidden: int, d_out: int) -> None:
        super().__init__()
        self.mlps = nn.Sequential(
            nn.Linear(d_in, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, d_out),
            nn.BatchNorm1d(d_out),
        )


class ReleasedProjector(nn.Module):
    """A module whose state dict has the released keys."""

    def __init__(self, d_in: int, hidden: int, d_out: int) -> None:
        super().__init__()
        self.Head2 = Head2(d_in, hidden, d_out)

    def forward(self, x: Tensor) -> Tensor:
        return normalize(self.Head2.mlps(x))


def random_projector(seed: int, d_in: int, hidden: int, d_out: int) -> ReleasedProjector:
    """Return FreeBind's projector, its numbers drawn."""
    return drawn(ReleasedProjector(d_in, hidden, d_out), seed)


def mlp(dim: int, hidden: int) -> nn.Sequential:
    """C-MCR's and Ex-MCR's MLP, as ``net1`` and ``net2``."""
    first = nn.Sequential(nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
    second = nn.Sequential(nn.Linear(hidden, dim), nn.BatchNorm1d(dim))
    return nn.Sequential(OrderedDict(net1=first, net2=second))


def half_mlp(dim: int) -> nn.Sequential:
    """The head of C-MCR's ULIP-CLIP, as ``net``."""
    half = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU())
    return nn.Sequential(OrderedDict(net=half))


def clap_clip(seed: int, dim: int = 512, hidden: int = 8) -> nn.ModuleDict:
    """C-MCR's CLAP-CLIP: head A is CLAP's."""
    return drawn(nn.ModuleDict({"Head_A": mlp(dim, hidden), "Head_B": mlp(dim, hidden)}), seed)


def ulip_clip(seed: int, dim: int = 512) -> nn.ModuleDict:
    """C-MCR's ULIP-CLIP: head A is CLIP's."""
    return drawn(nn.ModuleDict({"Head_A": half_mlp(dim), "Head_B": half_mlp(dim)}), seed)


def extension(seed: int, dim: int = 512, hidden: int = 8) -> nn.ModuleDict:
    """Ex-MCR: Head1 is for the modality that CLIP lacks, Head2 for all."""
    head2 = nn.Sequential(OrderedDict(mlp1=mlp(dim, hidden), mlp2=mlp(dim, hidden)))
    return drawn(nn.ModuleDict({"Head1": nn.Linear(dim, dim), "Head2": head2}), seed)


Drawn = TypeVar("Drawn", bound=nn.Module)


def drawn(made: Drawn, seed: int) -> Drawn:
    """Draw every number, biases and running statistics too; return the module in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    made.eval()
    with torch.no_grad():
        for key, tensor in made.state_dict().items():
            if key.endswith("num_batches_tracked"):
                tensor.fill_(1000 + seed)
            elif key.endswith("running_var"):
                tensor.uniform_(0.3, 1.5, generator=generator)
            else:
                tensor.uniform_(-1, 1, generator=generator)
    return made


def mixed(experts: Iterable[tuple[Iterable[ReleasedProjector], Tensor]]) -> Tensor:
    """The expert part: unit(mean of the unit outputs of all the projectors of all experts)."""
    outputs = [projector(x) for projectors, x in experts for projector in projectors]
    return normalize(torch.stack(outputs).mean(dim=0))


def weighted(unified: Tensor, expert: Tensor, factor: float) -> Tensor:
    """A weighted sum, then a unit vector."""
    return normalize((1 - factor) * unified + factor * expert)
