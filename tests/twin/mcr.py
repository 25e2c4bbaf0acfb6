"""C-MCR's and Ex-MCR's projectors and losses in torch, written from what their papers say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .training import info_nce


def mlp(d_in: int, hidden: int, d_out: int) -> nn.Sequential:
    """Linear - BatchNorm - ReLU - Linear - BatchNorm; Linears without biases."""
    return nn.Sequential(
        nn.Linear(d_in, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, d_out, bias=False),
        nn.BatchNorm1d(d_out),
    )


def load_mlp(network: nn.Sequential, params: Mapping, stats: Mapping) -> nn.Sequential:
    """Give an MLP the numbers of one of fb_jax's, in their dtype."""
    numbers = lambda x: torch.from_numpy(np.array(x))  # noqa: E731
    network.to(numbers(params["linear_in"]["kernel"]).dtype)
    with torch.no_grad():
        for linear, norm, end in ((0, 1, "in"), (3, 4, "out")):
            network[linear].weight.copy_(numbers(params[f"linear_{end}"]["kernel"]).T)
            network[norm].weight.copy_(numbers(params[f"norm_{end}"]["scale"]))
            network[norm].bias.copy_(numbers(params[f"norm_{end}"]["shift"]))
            network[norm].running_mean.copy_(numbers(stats[f"norm_{end}"]["mean"]))
            network[norm].running_var.copy_(numbers(stats[f"norm_{end}"]["var"]))
    return network


def cmcr_loss(
    projected: Mapping[str, Tensor], target: Mapping[str, Tensor], bridge: str, intra: float = 0.1
) -> Tensor:
    """C-MCR of a space {bridge, other} and a space {bridge, other}, both projected, at 1/100."""
    (own,), (theirs,) = ([m for m in rows if m != bridge] for rows in (projected, target))
    texts = info_nce(projected[bridge], target[bridge], 0.01)
    pseudo = info_nce(projected[own], target[theirs], 0.01)
    inside = [
        (rows[bridge] - rows[other]).norm(dim=1).mean()
        for rows, other in ((projected, own), (target, theirs))
    ]
    return texts + pseudo + intra * sum(inside) / 2


class Extension(nn.Module):
    """Ex-MCR: f_l, then two MLPs, then the L2 norm."""

    def __init__(self, dim: int, hidden: int, d_out: int) -> None:
        super().__init__()
        self.gap = nn.Linear(dim, dim)
        self.first, self.second = mlp(dim, hidden, d_out), mlp(d_out, hidden, d_out)

    def forward(self, x: Tensor, *, far: bool) -> Tensor:
        return normalize(self.second(self.first(self.gap(x) if far else x)))
