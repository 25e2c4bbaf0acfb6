"""Locks: a folder, or one of its numbered parts, for one process alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fb_jax.errors import FreeBindError, notice_once
from fb_jax.files.writing import PARTIAL, not_written

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
TAKEN = (errno.EAGAIN, errno.EACCES)
UNPROTECTED = (
    "this disk has no locks, so that two processes could write the same file; run one command at a "
    "time on it, or share an export by --num-shards and --shard-id"
)


class Taken(FreeBindError):
    """Another process, or another thread of this one, holds a lock."""


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
        Taken: Another process holds it.
        FreeBindError: The folder cannot be written to.
    """
    handle = _opened(folder, name)
    try:
        flag = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        held = _take(lambda: fcntl.flock(handle, flag), folder)
        if held and name == ".lock":
            remove_partial(folder)
        yield held
    finally:
        _unlock(lambda: fcntl.flock(handle, fcntl.LOCK_UN))  # forked processes have it open, too
        os.close(handle)


def _opened(folder: Path, name: str) -> int:
    """Return a handle of a lock's file, or of the folder itself."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / name, os.O_RDWR | os.O_CREAT if name else os.O_RDONLY, 0o666)
    except OSError as error:
        raise not_written(folder / name, error, "a lock") from error


@dataclass
class _Numbers:
    """The numbers of a folder that this process holds, and the handle that it holds them by."""

    handle: int
    held: set[int] = field(default_factory=set)


_NUMBERS: dict[tuple[int, Path], _Numbers] = {}
"""Process id and lock file to the numbers held there. A forked process inherits those of others."""

_GUARD = threading.Lock()


@contextlib.contextmanager
def locked_number(folder: Path, number: int, what: str, name: str = ".claims") -> Iterator[bool]:
    """Hold one numbered part of a folder for this thread alone; see ``locked``.

    Byte i of one file stands for part i, so that any number of hosts can share a folder.

    Args:
        folder: Made if it is missing.
        number: Number of the part.
        what: Kind of the part, for the message.
        name: Name of the file.

    Yields:
        Whether the part is really held: whether the disk has locks.

    Raises:
        Taken: Another process or thread holds the part.
        FreeBindError: The folder cannot be written to.
    """
    key = os.getpid(), folder.resolve() / name
    with _GUARD:
        try:
            held = _take_number(key, number, f"{what} {number} is taken")
        except FreeBindError:
            _close_unused(key)
            raise
    try:
        yield held
    finally:
        with _GUARD:
            _let_go(key, number)


def _take_number(key: tuple[int, Path], number: int, got: str) -> bool:
    """Take a number by the one handle of its file: to close a second one would end every lock."""
    folder, flag = key[1].parent, fcntl.LOCK_EX | fcntl.LOCK_NB
    if key not in _NUMBERS:
        _NUMBERS[key] = _Numbers(_opened(folder, key[1].name))
    numbers = _NUMBERS[key]
    if number in numbers.held:
        raise _taken(folder, got)
    held = _take(lambda: fcntl.lockf(numbers.handle, flag, 1, number), folder, got)
    numbers.held.add(number)
    return held


def _let_go(key: tuple[int, Path], number: int) -> None:
    _NUMBERS[key].held.discard(number)
    _unlock(lambda: fcntl.lockf(_NUMBERS[key].handle, fcntl.LOCK_UN, 1, number))
    _close_unused(key)


def _close_unused(key: tuple[int, Path]) -> None:
    if key in _NUMBERS and not _NUMBERS[key].held:
        os.close(_NUMBERS.pop(key).handle)


def _unlock(unlock: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):  # a disk without locks
        unlock()


def _take(lock: Callable[[], object], folder: Path, got: str | None = None) -> bool:
    """Take a lock; return whether this disk has locks at all.

    Raises:
        Taken: Another process holds it.
    """
    try:
        lock()
    except OSError as error:
        if error.errno in NO_LOCKS:
            notice_once(f"{folder}: {UNPROTECTED}", ("locks", folder.stat().st_dev))
            return False
        if error.errno not in TAKEN:
            raise not_written(folder, error, "a lock") from error
        raise _taken(folder, got) from error
    return True


def _taken(folder: Path, got: str | None) -> Taken:
    fix = "wait until it is done, or choose another folder"
    return Taken("another process is writing here", where=folder, got=got, fix=fix)


def has_locks(folder: Path) -> bool:
    """Return whether the disk of a folder has locks of file ranges, which some libraries need."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return _take(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB), folder)


def remove_partial(folder: Path, names: str = "*") -> None:
    """Remove the half-written files and folders in a folder that nobody else writes to."""
    for path in folder.glob(f"{names}{PARTIAL}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
