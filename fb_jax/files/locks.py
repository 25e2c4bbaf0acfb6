"""Locks: a folder for one process alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fb_jax.errors import FreeBindError, notice_once
from fb_jax.files.writing import PARTIAL, not_written

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
TAKEN = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False, name: str = ".lock") -> Iterator[bool]:
    """Hold a folder for this process alone; a killed process lets go by itself.

    Half-written files that a killed process left in the folder are removed. On a disk without
    locks a notice says so, and the work goes on.

    Args:
        folder: Made if it is missing.
        wait: Whether to wait for another process that holds it.
        name: Of the lock's file; locks of different names do not concern each other. "" locks the
            folder itself and leaves no file.

    Yields:
        Whether the folder is really held: whether the disk has locks.

    Raises:
        FreeBindError: Another process holds it, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT if name else os.O_RDONLY, 0o666)
    except OSError as error:
        raise not_written(folder / name, error, "a lock") from error
    try:
        flag = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        held = take(lambda: fcntl.flock(handle, flag), folder)
        if held and name == ".lock":
            remove_partial(folder)
        yield held
    finally:
        os.close(handle)


def take(
    lock: Callable[[], object],
    folder: Path,
    got: str | None = None,
    otherwise: str = "or choose another folder",
) -> bool:
    """Take a lock; return whether this disk has locks at all.

    Raises:
        FreeBindError: Another process holds it.
    """
    try:
        lock()
    except OSError as error:
        if error.errno in NO_LOCKS:
            text = f"{folder}: this disk has no locks; run one command at a time on it"
            notice_once(text, ("locks", folder.stat().st_dev))
            return False
        if error.errno not in TAKEN:
            raise not_written(folder, error, "a lock") from error
        raise FreeBindError(
            "another process is writing here",
            where=folder,
            got=got,
            fix=f"wait until it is done, {otherwise}",
        ) from error
    return True


def has_locks(folder: Path) -> bool:
    """Return whether the disk of a folder has locks of file ranges, which some libraries need."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return take(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB), folder)


def remove_partial(folder: Path, names: str = "*") -> None:
    """Remove the half-written files and folders in a folder that nobody else writes to."""
    for path in folder.glob(f"{names}{PARTIAL}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
