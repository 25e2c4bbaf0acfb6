"""The authors' released projector and inference [C], from the layout of their files alone."""

from __future__ import annotations

from collections.abc import Iterable

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
    """Return a projector whose every number, biases and running statistics too, is drawn."""
    generator = torch.Generator().manual_seed(seed)
    made = ReleasedProjector(d_in, hidden, d_out).eval()
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
