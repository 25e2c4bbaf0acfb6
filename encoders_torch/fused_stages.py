"""The stages of a fused space in torch: what ``fb_jax.fusion.sums`` computes in JAX.

``fused_space.py`` beside it says where this file goes; it must run without freebind-jax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .fused_routers import Router

EPSILON = 1e-5
"""Of the BatchNorms."""
LEAST_NORM = 2.0**-10
"""Least norm of a weighted mean of unit rows that still has a direction."""


def unit(rows: Tensor) -> Tensor:
    """Return unit rows of sums of unit rows; see ``sizes``."""
    return rows / sizes(rows)


def sizes(rows: Tensor) -> Tensor:
    """Return the norms ``[n, 1]`` of sums; raise a ValueError if one cancelled out."""
    norms = rows.norm(dim=-1, keepdim=True)
    if not bool((norms >= LEAST_NORM).all()):
        raise ValueError("the parts of some rows cancel out and leave no direction")
    return norms


class Mixture(nn.Module):
    """The projectors of a bond for one side, each BatchNorm folded into the Linear before it."""

    def __init__(self, tensors: Mapping[str, Tensor], mlps: Sequence[str]) -> None:
        super().__init__()
        layers = [_affine(tensors, mlp, end) for mlp in mlps for end in ("in", "out")]
        self.weights, self.biases = map(nn.ParameterList, zip(*layers, strict=True))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mean of the members' unit outputs: ``[n, d_in]`` to ``[n, d_out]``."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = rows @ weight + bias
            rows = rows if layer % 2 else torch.relu(rows)
        return nn.functional.normalize(rows, dim=-1, eps=1e-12).mean(dim=0)


def _affine(tensors: Mapping[str, Tensor], mlp: str, end: str) -> tuple[nn.Parameter, ...]:
    kernel, scale, shift, mean, var = (
        tensors[f"{mlp}.{name}"].double()
        for name in (
            f"linear_{end}.kernel",
            *(f"norm_{end}.{leaf}" for leaf in ("scale", "shift", "mean", "var")),
        )
    )
    gain = (scale / (var + EPSILON).sqrt())[:, None]
    return _frozen(kernel * gain), _frozen(shift[:, None] - mean[:, None] * gain)


def _frozen(numbers: Tensor) -> nn.Parameter:
    return nn.Parameter(numbers.float(), requires_grad=False)


class Projection(nn.Module):
    """The projectors of a bond: what ``fb_jax.projector.Bond.to_target`` computes.

    C-MCR has some for either side, other bonds for the side that they project. Ex-MCR has a Linear
    before them, for modalities that the other side lacks. ``bond`` is an entry of space.json.
    """

    def __init__(self, bond: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        source = "unified" if bond["kind"] in ("displacement", "direct_sum") else "expert"
        extension = bond.get("pipeline") == "exmcr"
        mlps = {source: [f"{name}.first", f"{name}.second"] if extension else [name]}
        if bond["kind"] == "cmcr":
            mlps = {side: [f"{name}.{side}"] for side in ("unified", "expert")}
        self.sides = nn.ModuleDict({side: Mixture(tensors, names) for side, names in mlps.items()})
        others = bond["shared"] if source == "unified" else _unified_modalities(bond)
        self.far = [m for m in bond["modalities"] if extension and m not in others]
        leaves = [tensors[f"{name}.gap.{leaf}"] for leaf in ("kernel", "bias")] if extension else []
        self.gap = nn.ParameterList(map(_frozen, leaves))

    def forward(self, side: str, modality: str, rows: Tensor) -> Tensor:
        """Return rows in the target space, ``[n, d]`` to ``[n, d_out]``; see ``Mixture``."""
        if side not in self.sides:
            return rows
        if modality in self.far:
            kernel, bias = self.gap
            rows = rows @ kernel + bias[:, None]
        projected: Tensor = self.sides[side](rows)
        return projected


def _unified_modalities(bond: Mapping[str, Any]) -> list[str]:
    return [m for m in bond["modalities"] if m not in bond.get("lacking", ())]


class Stage(nn.Module):
    """One stage of a fused space; ``about`` is its entry in space.json."""

    def __init__(self, about: dict[str, Any], tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        self.about, self.bonds = about, about["bonds"]
        self.kind = self.bonds[0]["kind"]
        self.projections = nn.ModuleList(
            Projection(bond, tensors, f"{number}.{bond['expert']}") for bond in self.bonds
        )
        self.basis = _frozen(tensors[f"{number}.basis"]) if about.get("cut") else None
        routers = about.get("routers", {}).items()
        self.routers = nn.ModuleDict(
            {name: Router(router, tensors, f"{number}.router.{name}") for name, router in routers}
        )

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
        if not any(modality in bond["modalities"] for bond in self.bonds):
            return unified  # a later stage brings it
        mix = self._direct_sum if self.kind == "direct_sum" else self._weighted_sum
        return mix(modality, unified, native, factor)

    def _weighted_sum(
        self, modality: str, unified: Tensor, native: Mapping[str, Tensor], factor: float
    ) -> Tensor:
        outputs = [
            projection("expert", modality, native[bond["expert"]])
            for bond, projection in zip(self.bonds, self.projections, strict=True)
            if modality in bond["shared"]
        ]
        if outputs and modality not in _unified_modalities(self.bonds[0]):
            return self._experts(outputs, outputs)
        if self.kind in ("displacement", "cmcr"):
            unified = unit(self.projections[0]("unified", modality, unit(unified)))
        if not outputs:
            return unified
        unified, *weighed = self._weighed(modality, native, [unified, *outputs])
        expert = self._experts(outputs, weighed)
        return self._normalised((1 - factor) * unified + factor * expert)

    def _experts(self, outputs: Sequence[Tensor], weighed: Sequence[Tensor]) -> Tensor:
        """Return the experts' part, from the means of each one's members and these weighed."""
        expert = torch.stack([*weighed]).mean(dim=0)
        bare = not self.about.get("unit_experts", True)
        return expert if bare else expert / sizes(torch.stack([*outputs]).mean(dim=0))

    def _weighed(
        self, modality: str, native: Mapping[str, Tensor], blocks: Sequence[Tensor]
    ) -> list[Tensor]:
        """Multiply blocks, the unified space's first, by the items' weights if there are some."""
        if modality not in self.routers:
            return [*blocks]
        weights = self.routers[modality](native)
        return [weight * block for weight, block in zip(weights, blocks, strict=True)]

    def _direct_sum(
        self, modality: str, unified: Tensor, native: Mapping[str, Tensor], factor: float
    ) -> Tensor:
        shared = [modality in bond["shared"] for bond in self.bonds]
        blocks = [
            native[bond["expert"]] if own else unit(project("unified", modality, unit(unified)))
            for bond, project, own in zip(self.bonds, self.projections, shared, strict=True)
        ]
        norms = [1.0 if own else self.about["fill"] for own in shared]
        weight = factor * sum(norms) / len(norms)
        unified, *blocks = self._weighed(modality, native, [unified, *blocks])
        expert = _side_by_side(blocks, norms)
        rows = _side_by_side([unified, expert], [1 - weight, weight])
        return self._normalised(rows if self.basis is None else rows @ self.basis)

    def _normalised(self, rows: Tensor) -> Tensor:
        return unit(rows) if self.about["normalise"] else rows


def _side_by_side(blocks: Sequence[Tensor], squares: Sequence[float]) -> Tensor:
    shares = [(square / sum(squares)) ** 0.5 for square in squares]
    return torch.cat([share * block for share, block in zip(shares, blocks, strict=True)], dim=-1)
