"""Writing files: whole under their name, or not there."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from fb_jax.errors import FreeBindError, notice_once
from fb_jax.files.digests import sealed

PARTIAL = ".partial"
"""Suffix of a file or folder that is being written; what a killed process leaves has it too."""

CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it appears under its name whole and on disk, or not at all.

    Any number of processes may write one name at once: each has a half-written file of its own.

    Args:
        path: Where the file goes; its folder is made if it is missing.
        write: Called with a binary file that is open for writing.

    Raises:
        FreeBindError: The disk is full or not writable; what was under ``path`` before is kept.
    """
    partial = path.parent / f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            write(file)
            file.flush()
            _sync(file.fileno(), path.parent)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def not_written(path: Path, error: OSError, what: str = "a file") -> FreeBindError:
    """Return the error for something that could not be written."""
    fixes = {
        **dict.fromkeys(FULL, "free some space"),
        errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
        **dict.fromkeys(
            (errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder you may write to"
        ),
    }
    fix = fixes.get(error.errno or 0, "look at the disk or choose another folder")
    return FreeBindError(
        f"{what} could not be written",
        where=path,
        got=f"{type(error).__name__}: {error}",
        fix=f"{fix}, then run the same command again: finished parts are kept",
    )


def _sync(handle: int, where: Path) -> bool:
    """Bring a file or folder to the disk; where a disk cannot, say so once and return False."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
        text = f"{where}: this disk cannot sync; a power cut may undo the last files here"
        notice_once(text, ("sync", os.fstat(handle).st_dev))
        return False
    return True


def sync_folder(folder: Path) -> bool:
    """Make a rename in ``folder`` last through a power cut; return whether this disk can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        return _sync(handle, folder)
    finally:
        os.close(handle)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file, atomically.

    Not by ``np.save``: in its C stream a disk that fills up with the last bytes goes unnoticed.
    """
    write_atomic(path, lambda file: _write_npy(file, array))


def npy_bytes(array: np.ndarray) -> bytes:
    """Return the content that ``write_npy`` gives a file."""
    file = io.BytesIO()
    _write_npy(file, array)
    return file.getvalue()


def _write_npy(file: Any, array: np.ndarray) -> None:
    array = np.ascontiguousarray(array)
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(array.data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically; an object gets a digest of itself.

    ``read_json`` compares the digest, so that an altered figure is noticed. JSON has no NaN and no
    infinity: they become null.
    """
    value = json.loads(json.dumps(_finite(value)))  # keys become text, and keep their order
    content = sealed(value) if isinstance(value, dict) else value
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
