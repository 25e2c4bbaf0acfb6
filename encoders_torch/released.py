"""Reads and writes the ``.pt`` files that the authors released, as NumPy arrays.

    FOLDER/<family>/<member>/best.pt     FreeBind; <member>: mix, A, T, V, AT, AV, TV
    FOLDER/<family>.pt                   C-MCR and Ex-MCR: the one member

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

FILE, SUFFIX = "best.pt", ".pt"


def read_families(path: Path | str, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Read the released families in a folder, or the one of a file.

    Args:
        path: It contains the families' folders and files, or is the file of a family.
        names: Names of all families that are known.

    Returns:
        Family to member to key to array, floats as float32; the member of a file is "".

    Raises:
        FreeBindError: There is no family, or a file is missing or no plain state dict.
    """
    path, known = Path(path), list(names)
    if path.suffix == SUFFIX:
        here = {path.stem: {"": path}} if path.stem in known else {}
    else:
        here = {name: own for name in known if (own := _members(path, name)) is not None}
    if not here:
        raise FreeBindError(
            "there is no released family here",
            where=path,
            expected=f"folders, or files with the suffix {SUFFIX}, named {', '.join(known)}",
        )
    return {
        name: {member: read_arrays(file) for member, file in members.items()}
        for name, members in here.items()
    }


def _members(folder: Path, family: str) -> dict[str, Path] | None:
    """Return member to file; None if the family is not there."""
    if not (folder / family).is_dir():
        file = folder / f"{family}{SUFFIX}"
        return {"": file} if file.is_file() else None
    members = sorted(path for path in (folder / family).iterdir() if path.is_dir())
    for path in members:
        if not (path / FILE).is_file():
            raise FreeBindError("a member of a released family is missing", where=path / FILE)
    return {path.name: path / FILE for path in members}


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
        families: Family to member to key to array; a member "" is a file.

    Raises:
        FreeBindError: A family is there already, or a file cannot be written.
    """
    for family, members in families.items():
        target = Path(folder) / (f"{family}{SUFFIX}" if "" in members else family)
        if target.exists():
            raise FreeBindError(
                "this family is there already", where=target, fix="choose another --out"
            )
        for member, state in members.items():
            tensors = {key: torch.from_numpy(np.array(array)) for key, array in state.items()}
            path = target / member / FILE if member else target
            files.write_atomic(path, partial(torch.save, tensors))
