"""Files of named tensors: ``.safetensors``, and PyTorch's ``.pt`` and ``.pth``."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from fb_jax import files
from fb_jax.banks import to_numpy
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.importing.source import Choice, ReadRows, Source, chosen_note, pick_matrix

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class _Tensor(ReadRows):
    """One matrix of a safetensors file, read by slices."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        self.path, self.name, self.shape = path, name, shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        with safe_open(self.path, framework="np") as file:
            return to_numpy(file.get_slice(self.name)[rows], self.path)


def open_safetensors(path: Path, choice: Choice) -> list[Source]:
    """Open one tensor of a ``.safetensors`` file."""
    with safe_open(path, framework="np") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        forms = {
            name: (tuple(part.get_shape()), DTYPES.get(part.get_dtype(), part.get_dtype()))
            for name, part in slices.items()
        }
    key = pick_matrix(path, forms, choice.key)
    matrix = _Tensor(path, key, forms[key][0])
    return [Source(path, "a .safetensors file", matrix, notes=chosen_note(key, forms))]


class _TorchRows(ReadRows):
    """Rows of a torch tensor, which may be mapped."""

    def __init__(self, tensor: Any) -> None:
        self._tensor, self.shape = tensor, tuple(tensor.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return to_numpy(self._tensor[rows])


def open_torch(path: Path, choice: Choice) -> list[Source]:
    """Open a tensor of a PyTorch file: the one that it is, or one of a dict of tensors."""
    torch = import_extra("torch", "encoders")
    loaded, notes = _load(torch, path)
    if isinstance(loaded, torch.Tensor):
        return [Source(path, "a PyTorch tensor", _TorchRows(loaded), notes=notes)]
    named = loaded if isinstance(loaded, Mapping) else {}
    tensors = {str(name): t for name, t in named.items() if isinstance(t, torch.Tensor)}
    forms = {n: (tuple(t.shape), str(t.dtype).split(".")[-1]) for n, t in tensors.items()}
    key = pick_matrix(path, forms, choice.key)
    notes = (*chosen_note(key, forms), *notes)
    return [Source(path, "a PyTorch file", _TorchRows(tensors[key]), notes=notes)]


def _load(torch: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """Load a file of tensors and nothing else, mapped where its format allows that."""
    mapped = zipfile.is_zipfile(path)
    size = files.gigabytes(path.stat().st_size)
    notes = () if mapped else (f"an old PyTorch file: all of it is read into memory, {size}",)
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # its text would advise to load anything at all
        raise FreeBindError(
            "this is damaged, or holds more than tensors",
            where=path,
            expected="a tensor, or a dict of tensors, as torch.save writes them",
            got=type(error).__name__,
            fix="save the matrix alone: torch.save(tensor.cpu(), path)",
        ) from error
    return loaded, notes
