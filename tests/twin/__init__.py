"""FreeBind once more, in plain torch and from the paper's text alone, for the parity tests.

Nothing here is fast, chunked or shared. It runs in the dtype of its inputs.
"""

from __future__ import annotations

import numpy as np
import torch

from twin.pairs import EQUATIONS, by_symbol, retrieve, symbol
from twin.training import (
    Projector,
    bond_loss,
    distillation,
    info_nce,
    load,
    mixture,
    named,
    numbers,
    train,
)

torch.set_num_threads(1)  # what the tests compute is too small to share out

PARITY = {"float32": 1e-5, "float64": 1e-12}
"""How far, relative to its Frobenius norm, an array may be from its twin."""

__all__ = [
    "EQUATIONS",
    "PARITY",
    "Projector",
    "bond_loss",
    "by_symbol",
    "distillation",
    "error",
    "info_nce",
    "load",
    "mixture",
    "named",
    "numbers",
    "retrieve",
    "symbol",
    "to_torch",
    "train",
]


def to_torch(rows: object) -> torch.Tensor:
    """Return any array as a tensor of its own memory."""
    return torch.from_numpy(np.array(rows))


def error(found: object, wanted: object) -> float:
    """Return the relative Frobenius error of an array, summed up in float64."""
    found, wanted = (
        np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, np.float64)
        for x in (found, wanted)
    )
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
