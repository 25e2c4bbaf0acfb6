"""Small torch towers: rows of features through residual 1-D convolutions to one unit vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

KERNEL = 5
HIDDEN = 4  # times the width, before the last layer


class Conv(nn.Module):
    """A 1-D convolution over ``[b, t, c]`` as one matrix product, which is faster on a CPU."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(KERNEL * dim_in, dim_out)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t d"]:
        """Return the same number of rows."""
        padded = nn.functional.pad(x, (0, 0, KERNEL // 2, KERNEL // 2))
        shifted = [padded[:, i : i + x.shape[1]] for i in range(KERNEL)]
        return self.linear(torch.cat(shifted, dim=-1))


class Block(nn.Module):
    """x + Conv(GELU(Conv(LayerNorm(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = Conv(width, width), Conv(width, width)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        """Return the same number of rows."""
        return x + self.second(nn.functional.gelu(self.first(self.norm(x))))


class Tower(nn.Module):
    """Turns inputs ``[b, time, features]`` into unit rows ``[b, dim]``.

    Args:
        time: Rows of an input.
        features: Columns of an input.
        patch: Number of rows that the first layer joins into one.
        dim: Dimension of the space.
        width: Number of channels.
    """

    def __init__(self, time: int, features: int, patch: int, dim: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.entrance = nn.Linear(patch * features, width)
        self.fine = nn.Sequential(Block(width), Block(width))
        self.coarse = nn.Sequential(nn.Linear(2 * width, width), Block(width))
        flat = time // patch // 2 * width
        self.exit = nn.Sequential(
            nn.LayerNorm(flat),
            nn.Linear(flat, HIDDEN * width),
            nn.GELU(),
            nn.Linear(HIDDEN * width, dim),
        )

    def forward(self, x: Float[Tensor, "b t f"]) -> Float[Tensor, "b d"]:
        """Return unit rows."""
        batch = len(x)
        x = self.entrance(x.reshape(batch, x.shape[1] // self.patch, -1))
        x = self.fine(x)
        x = self.coarse(x.reshape(batch, x.shape[1] // 2, -1))
        return nn.functional.normalize(self.exit(x.flatten(1)), dim=-1)
