"""The authors' released ``.pt`` files, read and written as NumPy arrays: all that needs torch.

    FOLDER/<family>/<member>/best.pt     <member>: mix, A, T, V, AT, AV, TV

What the arrays mean is ``fb_jax/projector/released.py``.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fb_jax.banks import files
from fb_jax.errors import FreeBindError

FILE = "best.pt"


def read_families(folder: Path, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the released families that lie in a folder.

    Args:
        folder: Where their folders are.
        names: Of all the families.

    Returns:
        Family to member to key to array.

    Raises:
        FreeBindError: There is none, or a file is no plain state dict.
    """
    known = list(names)
    if not (here := [name for name in known if (folder / name).is_dir()]):
        raise FreeBindError(
            "there is no released family here",
            where=folder,
            expected=f"folders named {', '.join(known)}",
        )
    return {
        name: {path.parent.name: read_state(path) for path in sorted(_members(folder / name))}
        for name in here
    }


def _members(family: Path) -> list[Path]:
    folders = [path for path in family.iterdir() if path.is_dir()]
    return [path / FILE for path in folders]


def read_state(path: Path) -> dict[str, np.ndarray]:
    """Read one state dict; floats as float32.

    Only tensors and plain containers are read (``weights_only``): a file that would run code is
    refused.

    Raises:
        FreeBindError: It is missing, damaged, would run code, or holds anything but arrays.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # what they tell of ends as an error here
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FreeBindError("a member of a released family is missing", where=path) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise FreeBindError(
            "this file cannot be read as plain tensors",
            where=path,
            expected="a state dict that torch.load reads with weights_only=True",
            got=_reason(error),
            fix="do not load it in another way unless you trust it: a pickle can run any code",
        ) from error
    if not isinstance(found, Mapping) or not all(torch.is_tensor(t) for t in found.values()):
        raise FreeBindError(
            "this file is no state dict", where=path, expected="a dict of tensors by name"
        )
    return {str(key): _array(tensor) for key, tensor in found.items()}


def _reason(error: Exception) -> str:
    """Return torch's reason without its advice to load the file in the unsafe way."""
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return f"{type(error).__name__}: {text.strip().partition(chr(10))[0]}"


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def write_families(
    folder: Path, families: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
) -> None:
    """Write families as the authors lay them out; each file is whole or not there.

    Args:
        folder: Where their folders go.
        families: Family to member to key to array.

    Raises:
        FreeBindError: A file is there already, or cannot be written.
    """
    for family, members in families.items():
        if (folder / family).exists():
            raise FreeBindError(
                "this family is there already", where=folder / family, fix="choose another --out"
            )
        for member, state in members.items():
            tensors = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
            files.write_atomic(folder / family / member / FILE, partial(torch.save, tensors))
