"""Matrices in files of other programs: ``.npy`` and ``.safetensors``, read by slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open

from fb_jax import files
from fb_jax.banks import Rows
from fb_jax.banks.directions import require_matrix
from fb_jax.errors import FreeBindError


class _Tensor:
    """One matrix of a safetensors file, read by slices."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            if len(names) != 1:
                raise FreeBindError(
                    "a safetensors file must hold one matrix",
                    where=path,
                    got=f"{len(names)} tensors: {', '.join(names[:8])}",
                    fix="save the matrix alone",
                )
            self.path, self.name = path, names[0]
            self.shape: tuple[int, ...] = tuple(file.get_slice(self.name).get_shape())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))  # safetensors does not clip
        with safe_open(self.path, framework="np") as file:
            return np.asarray(file.get_slice(self.name)[start:stop])


def open_matrix(path: Path | str) -> Rows:
    """Open a matrix ``[n, d]`` of floats without reading it.

    Raises:
        FreeBindError: The file is missing or damaged, has another format, or holds something else.
    """
    path = Path(path)
    files.open_regular(path, "a matrix").close()
    if path.suffix not in (".npy", ".safetensors"):
        raise FreeBindError(
            "this kind of file cannot be imported", where=path, expected=".npy or .safetensors"
        )
    with files.explained("a matrix cannot be read", path):
        tensors = path.suffix == ".safetensors"
        matrix: Rows = _Tensor(path) if tensors else files.open_npy(path, "a matrix")
        require_matrix(matrix, path)
    return matrix
