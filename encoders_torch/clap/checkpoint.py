"""Reading the ``.pt`` files of LAION-CLAP without running what may be in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fb_jax.errors import FreeBindError

PREFIX = "module."
"""Put before every name by the wrapper that LAION trained in (DistributedDataParallel)."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint; its optimizer's state is not loaded.

    Args:
        path: A file by ``torch.save``: a training state with ``state_dict``, or that alone.

    Returns:
        LAION's names, without ``module.``, to tensors on the CPU.

    Raises:
        FreeBindError: It is no such file, is damaged, or holds more than tensors, numbers and text.
    """
    loaded = _load(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not named or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise _unusable(path, "its state_dict is not a table of tensors")
    return {name.removeprefix(PREFIX): value for name, value in state.items()}


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            mapped = zipfile.is_zipfile(path)  # the format since torch 1.6: read where it is used
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise FreeBindError(
            "a checkpoint holds more than weights, or is none",
            where=path,
            expected="tensors, numbers and text",
            got=str(error).strip().splitlines()[0],
            fix="do not load it elsewhere either unless you trust who made it: it may run code",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise _unusable(path, (str(error).splitlines() or ["nothing"])[0]) from error


def _numpy_scalars() -> list[Any]:
    """Return what pickled NumPy scalars are made of: LAION's files hold scores beside weights."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    homes = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # NumPy 1 and 2
    return [np.dtype, *kinds, *((scalar, home) for home in homes)]


def _unusable(path: Path, got: object) -> FreeBindError:
    return FreeBindError(
        "a checkpoint cannot be read",
        where=path,
        expected="a .pt file of LAION-CLAP",
        got=got,
        fix="download it again: it may be incomplete",
    )
