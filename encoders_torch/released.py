"""Reads and writes the ``.pt`` files that the authors released, as NumPy arrays.

    FOLDER/<family>/<member>/best.pt     <member>: mix, A, T, V, AT, AV, TV

``fb_jax/projector/released.py`` knows what the arrays mean. This is the part that needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders_torch.tensor_files import read_state
from fb_jax import files
from fb_jax.errors import FreeBindError

FILE = "best.pt"


def read_families(folder: Path | str, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the released families in a folder.

    Args:
        folder: It contains the families' folders.
        names: Names of all families that are known.

    Returns:
        Family to member to key to array; floats as float32.

    Raises:
        FreeBindError: There is no family, or a file is missing or no plain state dict.
    """
    folder, known = Path(folder), list(names)
    if not (here := [name for name in known if (folder / name).is_dir()]):
        raise FreeBindError(
            "there is no released family here",
            where=folder,
            expected=f"folders named {', '.join(known)}",
        )
    return {
        name: {path.parent.name: read_arrays(path) for path in sorted(_members(folder / name))}
        for name in here
    }


def _members(family: Path) -> list[Path]:
    paths = [path / FILE for path in family.iterdir() if path.is_dir()]
    for path in paths:
        if not path.is_file():
            raise FreeBindError("a member of a released family is missing", where=path)
    return paths


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read one file as arrays, floats as float32; see ``read_state`` for errors."""
    state = {key: tensor.detach() for key, tensor in read_state(path).items()}
    return {k: (t.float() if t.is_floating_point() else t).numpy() for k, t in state.items()}


def write_families(
    folder: Path | str, families: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
) -> None:
    """Write families in the authors' layout. Each file is complete or not there.

    Args:
        folder: For the families' folders.
        families: Family to member to key to array.

    Raises:
        FreeBindError: A family is there already, or a file cannot be written.
    """
    for family, members in families.items():
        target = Path(folder) / family
        if target.exists():
            raise FreeBindError(
                "this family is there already", where=target, fix="choose another --out"
            )
        for member, state in members.items():
            tensors = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
            files.write_atomic(target / member / FILE, partial(torch.save, tensors))
