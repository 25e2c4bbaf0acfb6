"""The stages of a fused space in torch: what ``fb_jax.fusion.sums`` computes in JAX.

``fused_space.py`` beside it says where this file goes; it must run without freebind-jax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-5
"""Of the BatchNorms."""
LEAST_NORM = 2.0**-10
"""Least norm of a weighted mean of unit rows that still has a direction."""


def unit(rows: Tensor) -> Tensor:
    """Return unit rows of sums of unit rows; raise a ValueError for one that cancelled out."""
    norms = rows.norm(dim=-1, keepdim=True)
    if not bool((norms >= LEAST_NORM).all()):
        raise ValueError("the parts of some rows cancel out and leave no direction")
    return rows / norms


class Mixture(nn.Module):
    """The projectors of a bond, each BatchNorm folded into the Linear before it."""

    weight_in: nn.Parameter
    bias_in: nn.Parameter
    weight_out: nn.Parameter
    bias_out: nn.Parameter

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        super().__init__()
        for end in ("in", "out"):
            kernel, scale, shift, mean, var = (
                tensors[f"{prefix}.{name}"].double()
                for name in (
                    f"linear_{end}.kernel",
                    *(f"norm_{end}.{leaf}" for leaf in ("scale", "shift", "mean", "var")),
                )
            )
            gain = (scale / (var + EPSILON).sqrt())[:, None]
            setattr(self, f"weight_{end}", _frozen(kernel * gain))
            setattr(self, f"bias_{end}", _frozen(shift[:, None] - mean[:, None] * gain))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mean of the members' unit outputs: ``[n, d_in]`` to ``[n, d_out]``."""
        hidden = torch.relu(rows @ self.weight_in + self.bias_in)
        outputs = hidden @ self.weight_out + self.bias_out
        return nn.functional.normalize(outputs, dim=-1, eps=1e-12).mean(dim=0)


def _frozen(numbers: Tensor) -> nn.Parameter:
    return nn.Parameter(numbers.float(), requires_grad=False)


class Stage(nn.Module):
    """One stage of a fused space; ``about`` is its entry in space.json."""

    def __init__(self, about: dict[str, Any], tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        self.about, self.bonds = about, about["bonds"]
        self.kind = self.bonds[0]["kind"]
        names = [f"{number}.{bond['expert']}" for bond in self.bonds]
        self.mixtures = nn.ModuleList(Mixture(tensors, name) for name in names)
        self.basis = _frozen(tensors[f"{number}.basis"]) if about.get("cut") else None

    def forward(
        self, modality: str, unified: Tensor, native: Mapping[str, Tensor], factor: float
    ) -> Tensor:
        """Return the fused rows of a modality.

        Args:
            modality: Name of the modality.
            unified: ``[n, d]`` rows of the unified space; not used for a modality of tuned rows.
            native: Native space to ``[n, d]`` unit rows.
            factor: Weight of the expert part.
        """
        if modality in self.about["given"]:
            return native[self.about["given"][modality]]
        mix = self._direct_sum if self.kind == "direct_sum" else self._weighted_sum
        return mix(modality, unified, native, factor)

    def _weighted_sum(
        self, modality: str, unified: Tensor, native: Mapping[str, Tensor], factor: float
    ) -> Tensor:
        displaced = self.kind == "displacement"
        if displaced:
            unified = unit(self.mixtures[0](unit(unified)))
        outputs = [
            native[bond["expert"]] if displaced else mixture(native[bond["expert"]])
            for bond, mixture in zip(self.bonds, self.mixtures, strict=True)
            if modality in bond["shared"]
        ]
        if not outputs:
            return unified
        expert = unit(torch.stack(outputs).mean(dim=0))
        return self._normalised((1 - factor) * unified + factor * expert)

    def _direct_sum(
        self, modality: str, unified: Tensor, native: Mapping[str, Tensor], factor: float
    ) -> Tensor:
        shared = [modality in bond["shared"] for bond in self.bonds]
        blocks = [
            native[bond["expert"]] if own else unit(mixture(unit(unified)))
            for bond, mixture, own in zip(self.bonds, self.mixtures, shared, strict=True)
        ]
        norms = [1.0 if own else self.about["fill"] for own in shared]
        weight = factor * sum(norms) / len(norms)
        expert = _side_by_side(blocks, norms)
        rows = _side_by_side([unified, expert], [1 - weight, weight])
        return self._normalised(rows if self.basis is None else rows @ self.basis)

    def _normalised(self, rows: Tensor) -> Tensor:
        return unit(rows) if self.about["normalise"] else rows


def _side_by_side(blocks: Sequence[Tensor], squares: Sequence[float]) -> Tensor:
    shares = [(square / sum(squares)) ** 0.5 for square in squares]
    return torch.cat([share * block for share, block in zip(shares, blocks, strict=True)], dim=-1)
