"""Writing files: whole under their name, or not there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from fb_jax.errors import FreeBindError


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it appears under its name whole and on disk, or not at all.

    Args:
        path: Where the file goes; its folder is made if it is missing.
        write: Called with a binary file that is open for writing.

    Raises:
        FreeBindError: The disk is full or not writable; nothing is left under ``path``.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise FreeBindError(
            "a file could not be written",
            where=path,
            got=f"{type(error).__name__}: {error}",
            fix="free some space or choose a folder you may write to, then run the same "
            "command again: finished parts are kept",
        ) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file, atomically.

    Not by ``np.save``: in its C stream a disk that fills up with the last bytes goes unnoticed.
    """

    def write(file: IO[bytes]) -> None:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)

    array = np.ascontiguousarray(array)
    write_atomic(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))
