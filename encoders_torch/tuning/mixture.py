"""The displacement mixture in torch, tuned together with an encoder: BatchNorm is folded.

A frozen BatchNorm is affine, so it becomes part of the Linear layer before it. The folded weights
are tuned: statistics of audio batches alone would replace those of all modalities.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from encoders_torch.explain import explained

EPSILON = 1e-5
"""Epsilon of the projectors' BatchNorm."""


class Mixture(nn.Module):
    """Psi: the mean of the members' unit outputs [P, C], then L2 norm [C].

    Args:
        members: Number of projectors.
        dim_in: Dimensions of the source space.
        hidden: Width of the projectors.
        dim: Dimensions of the target space.
    """

    def __init__(self, members: int, dim_in: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.dim_in, self.dim = dim_in, dim
        self.weight_in = nn.Parameter(torch.empty(members, dim_in, hidden))
        self.bias_in = nn.Parameter(torch.empty(members, 1, hidden))
        self.weight_out = nn.Parameter(torch.empty(members, hidden, dim))
        self.bias_out = nn.Parameter(torch.empty(members, 1, dim))

    def forward(self, rows: Float[Tensor, "b d_in"]) -> Float[Tensor, "b d"]:
        """Return unit rows of the target space, from unit rows of the source space."""
        hidden = torch.relu(rows @ self.weight_in + self.bias_in)
        outputs = normalize(hidden @ self.weight_out + self.bias_out, dim=-1)
        return normalize(outputs.mean(dim=0), dim=-1)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Mixture:
        """Return the mixture of a state dict, with the sizes of its tensors.

        Raises:
            FreeBindError: Tensors are missing, too many, or do not fit together.
        """
        with explained(
            "these are no weights of a mixture", expected="weight_in, bias_in, weight_out, bias_out"
        ):
            members, dim_in, hidden = state["weight_in"].shape
            mixture = cls(members, dim_in, hidden, state["weight_out"].shape[2])
            mixture.load_state_dict(state)
        return mixture


def folded(
    kernel: Float[Tensor, "p rows columns"],
    scale: Float[Tensor, "p columns"],
    shift: Float[Tensor, "p columns"],
    mean: Float[Tensor, "p columns"],
    var: Float[Tensor, "p columns"],
) -> tuple[Float[Tensor, "p rows columns"], Float[Tensor, "p 1 columns"]]:
    """Fold a BatchNorm into the Linear layer before it, which has no bias.

    Returns:
        Weight and bias of the resulting Linear layer, float32.
    """
    kernel, scale, shift, mean, var = (x.double() for x in (kernel, scale, shift, mean, var))
    gain = scale / torch.sqrt(var + EPSILON)
    return (kernel * gain[:, None]).float(), (shift - mean * gain)[:, None].float()
