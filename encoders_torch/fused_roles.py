"""Rows that ask and rows to be found in torch: what ``fb_jax.fusion.hubs`` computes in JAX.

``fused_space.py`` beside it says where this file goes; it must run without freebind-jax.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

ROLES = {"query": "query", "document": "item"}
"""Task of sentence-transformers to role."""


def references_file(about: Mapping[str, Any]) -> str:
    """Return the name of the file of references, from the entry ``hubs`` of space.json."""
    return f"hubs-{about['sha256'][:12]}.safetensors"


class Roles(nn.Module):
    """The hub correction of a space.

    Args:
        about: The entry ``hubs`` of space.json.
        content: The file of references.
    """

    def __init__(self, about: Mapping[str, Any], content: bytes) -> None:
        super().__init__()
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise ValueError(f"the references were altered: {references_file(about)}")
        self.pairs = {frozenset(name.split("-")): hub for name, hub in about["pairs"].items()}
        self.columns = sorted(frozenset().union(*self.pairs))
        most = [max(h["alpha"] for p, h in self.pairs.items() if m in p) for m in self.columns]
        self.square = 1 + sum(alpha**2 for alpha in most)
        tensors = load_tensors(content)
        self.references = nn.ParameterDict(
            {name: nn.Parameter(tensors[name], requires_grad=False) for name in self.columns}
        )

    def forward(self, role: str, modality: str, rows: Tensor) -> Tensor:
        """Return unit rows in a role, ``[n, d]`` to ``[n, e]``."""
        zero = torch.zeros_like(rows[:, :1])
        if role == "query":
            columns = [zero + (name == modality) for name in self.columns]
            return nn.functional.normalize(torch.cat([rows, *columns, zero], dim=1), dim=1)
        known = torch.cat([rows, *(self._column(modality, m, rows) for m in self.columns)], dim=1)
        rest = (self.square - known.square().sum(dim=1, keepdim=True)).clamp(min=0)
        return nn.functional.normalize(torch.cat([known, rest.sqrt()], dim=1), dim=1)

    def _column(self, modality: str, asking: str, rows: Tensor) -> Tensor:
        """Return what items lose for an asking modality, ``[n, 1]``."""
        hub = self.pairs.get(frozenset((modality, asking)))
        if hub is None:
            return torch.zeros_like(rows[:, :1])
        scores = rows @ self.references[asking].T
        highest = scores.topk(min(hub["k"], scores.shape[1]), dim=1).values
        return -hub["alpha"] * highest.mean(dim=1, keepdim=True)
