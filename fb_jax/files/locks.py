"""Locks: a folder for one process alone."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fb_jax.errors import FreeBindError


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone; a killed process lets go by itself.

    Args:
        folder: Made if it is missing.
        wait: Whether to wait for another process that holds it.

    Raises:
        FreeBindError: Another process holds it, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise FreeBindError("no permission to write here", where=folder, got=error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise FreeBindError(
                "another process is writing here",
                where=folder,
                fix="wait until it is done, or choose another folder",
            ) from error
        yield
