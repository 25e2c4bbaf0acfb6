"""Opening files: regular ones only. A named pipe would block for ever, a device never end."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from fb_jax.errors import FreeBindError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}

State = tuple[int, int, int]
"""Inode, size and time of a file, of which one changes when the file is written again."""


def special(path: Path) -> str | None:
    """Return what a named pipe, device or socket is; None for files, folders and nothing."""
    try:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):  # such as a null character in the name
        return None
    return None if kind == KINDS[stat.S_IFDIR] else kind


def state_of(path: Path, what: str = "a file") -> State:
    """Return the state of a regular file: what was read of it is read again in another one.

    Raises:
        FreeBindError: See ``open_regular``.
    """
    with open_regular(path, what) as file:
        stat = os.fstat(file.fileno())
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def open_regular(
    path: Path | str, what: str = "a file", *, follow: bool = True, fix: str | None = None
) -> BufferedReader:
    """Open a regular file for reading in binary, without ever blocking.

    Args:
        path: Of the file.
        what: It is, for messages.
        follow: Whether it may be a link to one.
        fix: What to do if it cannot be opened, for messages.

    Raises:
        FreeBindError: It is missing, cannot be opened, or is something else.
    """
    link = 0 if follow else os.O_NOFOLLOW
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | link)
    except FileNotFoundError:
        raise FreeBindError(f"{what} is missing", where=path, fix=fix) from None
    except (OSError, ValueError) as error:  # such as a null character in its name
        got = "a link" if link and Path(path).is_symlink() else error
        raise FreeBindError(f"{what} cannot be opened", where=path, got=got, fix=fix) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise FreeBindError(
            f"{what} cannot be read", where=path, expected="a regular file", got=kind, fix=fix
        )
    return os.fdopen(handle, "rb")
