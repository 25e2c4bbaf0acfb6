"""Weights by the item in torch: what ``fb_jax.projector.router`` computes in JAX.

``fused_space.py`` beside it says where this file goes; it must run without freebind-jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SOURCE = "text"
"""The modality that has a scale of its own."""


class Router(nn.Module):
    """The router of a modality.

    Args:
        about: An entry of ``routers`` in space.json.
        tensors: All numbers of the space.
        name: How the names of this router's numbers begin.
    """

    def __init__(self, about: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        shape = about["shape"]
        self.inputs, self.sigmoid = about["inputs"], shape["sigmoid"]
        self.scale = shape["text_scale" if about["modality"] == SOURCE else "scale"]
        self.activations = [getattr(torch, activation) for activation in shape["activations"]]
        layers = range(len(shape["widths"]) + 1)
        self.weights, self.biases = (
            nn.ParameterList(
                nn.Parameter(tensors[f"{name}.{layer}.{kind}"], requires_grad=False)
                for layer in layers
            )
            for kind in ("weight", "bias")
        )

    def forward(self, native: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the weights of items for each block, ``[n, 1]``; their mean is 1."""
        x = torch.cat([native[name] for name in self.inputs], dim=1)
        activations = [*self.activations, torch.sigmoid if self.sigmoid else nn.Identity()]
        for weight, bias, activation in zip(self.weights, self.biases, activations, strict=True):
            x = activation(x @ weight + bias)
        return list((x.shape[1] * torch.softmax(self.scale * x, dim=1)).split(1, dim=1))
