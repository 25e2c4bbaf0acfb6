"""Reading files: one reader for each format, which raises nothing but a FreeBindError.

Libraries that parse raise whatever they like for a damaged file, so every reader here turns any
exception of a parser into our error. Sizes that a file claims are compared with its own before
anything is allocated.
"""

from __future__ import annotations

import math
import os
import warnings
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import msgspec
import numpy as np

from fb_jax.errors import FreeBindError
from fb_jax.files.digests import SEAL, sealed
from fb_jax.files.regular import open_regular

T = TypeVar("T")
MOST_JSON = 1 << 28
MOST_DEPTH = 64
MOST_HEADER = 1 << 16
MISFIT = "a file holds something else"
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def explained(what: str, where: object, fix: str | None = None) -> Iterator[None]:
    """Turn any exception but a FreeBindError into one: ``what`` is wrong with ``where``."""
    try:
        yield
    except (FreeBindError, MemoryError):  # too little memory is no fault of the file
        raise
    except OSError as error:  # the disk is at fault, not what the file holds
        what, fix = what.partition(":")[0], "look at the disk, then run the same command again"
        raise FreeBindError(what, where=where, got=error, fix=fix) from error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise FreeBindError(what, where=where, got=got, fix=fix) from error


def read_bytes(path: Path, most: int, what: str = "a file") -> bytes:
    """Read a whole file of at most ``most`` bytes.

    Raises:
        FreeBindError: It is missing, no regular file, or larger.
    """
    with explained(f"{what} cannot be read", path), open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read() if size <= most else b""
    if size > most:
        raise FreeBindError(
            f"{what} is longer than it should be", where=path, expected=f"at most {most:,} bytes"
        )
    return content


@overload
def read_json(path: Path) -> Any: ...
@overload
def read_json(path: Path, kind: type[T]) -> T: ...
def read_json(path: Path, kind: Any = Any) -> Any:
    """Read a JSON file.

    Args:
        path: Of the file.
        kind: What it must hold, as msgspec checks it: a type, a dataclass or a Struct.

    Returns:
        Its content, without the digest of itself.

    Raises:
        FreeBindError: It is missing, no JSON, altered since ``write_json``, or holds something
            else.
    """
    value = parse_json(read_bytes(path, MOST_JSON), "a file is not valid JSON", path)
    if isinstance(value, dict) and SEAL in value:
        recorded, value = value[SEAL], {n: part for n, part in value.items() if n != SEAL}
        if (found := sealed(value)[SEAL]) != recorded:
            raise FreeBindError(
                "this file was altered",
                where=path,
                expected=f"SHA-256 {recorded}",
                got=f"SHA-256 {found} of everything but that line",
                fix=f'restore it; if you changed it on purpose, delete the line of "{SEAL}"',
            )
    return convert(value, kind, path)


def read_jsonl(path: Path, kind: Any) -> Iterator[Any]:
    """Read the lines of a file, each as ``read_json`` reads a file.

    Raises:
        FreeBindError: The file is missing, or a line is no JSON or holds something else.
    """
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(BOM_UTF8) if number == 1 else line
            where = f"{path}, line {number}"
            yield parse_json(text, "a line is not valid JSON", where, kind)


@overload
def parse_json(content: bytes, what: str, where: object) -> Any: ...
@overload
def parse_json(content: bytes, what: str, where: object, kind: type[T]) -> T: ...
def parse_json(content: bytes, what: str, where: object, kind: Any = Any) -> Any:
    """Return the value of a JSON text; see ``read_json``."""
    with explained(what, where):
        value = msgspec.json.decode(content)
        _require_shallow(value)
    return convert(value, kind, where, what)


@overload
def convert(value: Any, kind: type[T], where: object, what: str = MISFIT) -> T: ...
@overload
def convert(value: Any, kind: Any, where: object, what: str = MISFIT) -> Any: ...
def convert(value: Any, kind: Any, where: object, what: str = MISFIT) -> Any:
    """Return plain types as ``kind``, which msgspec checks.

    Raises:
        FreeBindError: They do not fit.
    """
    with explained(what, where):
        return msgspec.convert(value, kind)


def _require_shallow(value: Any) -> None:
    """Raise a ValueError for what is nested so deep that code which walks it could not."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [part for part in level if isinstance(part, dict | list)]
        level = [x for part in level for x in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise ValueError(f"nested more than {MOST_DEPTH} deep")


def read_npy(path: Path, what: str) -> np.ndarray:
    """Read a ``.npy`` file into memory; see ``open_npy``."""
    array = open_npy(path, what)
    with explained(f"{what} cannot be read", path):
        return np.array(array)


def open_npy(path: Path, what: str, *, follow: bool = True, fix: str | None = None) -> np.ndarray:
    """Map a ``.npy`` file without reading its numbers.

    Args:
        path: Of the file.
        what: It is, for the message.
        follow: Whether it may be a link.
        fix: What to do if it cannot be read, for the message.

    Raises:
        FreeBindError: It is missing, damaged, shorter than its header says, or holds objects.
    """
    file = open_regular(path, what, follow=follow, fix=fix)
    with (
        file,
        warnings.catch_warnings(action="ignore"),
        explained(f"{what} cannot be read: truncated, or no .npy file", path, fix),
    ):
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError(f"it says that it holds {dtype}, {shape}")
        _require_bytes(file, math.prod(shape) * dtype.itemsize)
        order: Any = "F" if fortran else "C"
        if math.prod(shape) == 0 or dtype.itemsize == 0:
            return np.empty(shape, dtype, order)
        mapped: Any = file  # reading is all that memmap does with it
        return np.memmap(mapped, dtype, "r", file.tell(), shape, order)


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
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
