"""Arrays from other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_numpy(array: Any) -> np.ndarray:
    """Return a NumPy, JAX or torch array as NumPy's; a torch tensor leaves its device and graph."""
    if hasattr(array, "detach"):  # torch, which need not be installed
        array = array.detach().cpu().float()  # NumPy has no bfloat16
    return np.asarray(array)
