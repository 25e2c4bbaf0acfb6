"""Reading ``.npy`` files: mapped, after their header was compared with their size."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from fb_jax.files.reading import explained
from fb_jax.files.regular import open_regular

MOST_HEADER = 1 << 16
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path, what: str) -> np.ndarray:
    """Read a ``.npy`` file into memory; see ``open_npy``."""
    array = open_npy(path, what)
    with explained(f"{what} cannot be read", path):
        return np.array(array)


def open_npy(
    path: Path, what: str, *, follow: bool = True, fix: str | None = None, offset: int = 0
) -> np.ndarray:
    """Map a ``.npy`` file without reading its numbers.

    Args:
        path: Of the file.
        what: It is, for the message.
        follow: Whether it may be a link.
        fix: What to do if it cannot be read, for the message.
        offset: Where it begins: after 0 bytes, or inside of an archive.

    Raises:
        FreeBindError: It is missing, damaged, shorter than its header says, or holds objects.
    """
    file = open_regular(path, what, follow=follow, fix=fix)
    with (
        file,
        warnings.catch_warnings(action="ignore"),
        explained(f"{what} cannot be read: truncated, or no .npy file", path, fix),
    ):
        file.seek(offset)
        shape, fortran, dtype = read_npy_header(file)
        if dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError(f"it says that it holds {dtype}, {shape}")
        _require_bytes(file, math.prod(shape) * dtype.itemsize)
        order: Any = "F" if fortran else "C"
        if math.prod(shape) == 0 or dtype.itemsize == 0:
            return np.empty(shape, dtype, order)
        mapped: Any = file  # reading is all that memmap does with it
        return np.memmap(mapped, dtype, "r", file.tell(), shape, order)


def read_npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a ``.npy`` file; NumPy would allocate whatever length it claims."""
    version = np.lib.format.read_magic(file)
    start, width = file.tell(), 2 if version == (1, 0) else 4
    if int.from_bytes(file.read(width), "little") > MOST_HEADER:
        raise ValueError(f"its header should have more than {MOST_HEADER:,} bytes")
    file.seek(start)
    header: tuple[tuple[int, ...], bool, np.dtype] = NPY_HEADERS[version](file)
    return header


def _require_bytes(file: IO[bytes], needed: int) -> None:
    start = file.tell()
    there = file.seek(0, 2) - start
    file.seek(start)
    if there < needed:
        raise ValueError(f"it should hold {needed:,} bytes of numbers and holds {there:,}")
