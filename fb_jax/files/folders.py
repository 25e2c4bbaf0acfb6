"""Folders that appear under their name whole, or not at all."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from fb_jax.files.locks import locked
from fb_jax.files.writing import PARTIAL, not_written, sync_folder


def write_folder(path: Path, write: Callable[[Path], object], what: str) -> None:
    """Write a folder so that it appears under its name whole and on disk, or not at all.

    Args:
        path: Where it goes: nothing, or an empty folder.
        write: Called with an empty folder beside ``path`` to write into.
        what: It is, for messages.

    Raises:
        FreeBindError: Another process writes this folder, the disk is full or not writable, or
            ``path`` holds something.
    """
    path = path.absolute()
    _remove_left(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    with locked(partial, name=""):
        try:
            write(partial)
            _sync_files(partial)
            partial.replace(path)  # also an empty folder
            sync_folder(path.parent)
        except OSError as error:
            raise not_written(path, error, what) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _remove_left(path: Path) -> None:
    """Remove what killed processes left of a folder; who still writes holds a lock on it."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        if left.is_dir() and not left.is_symlink():
            with locked(left, name="") as held:
                if held:  # else nobody knows whose it is
                    shutil.rmtree(left, ignore_errors=True)


def _sync_files(folder: Path) -> None:
    for where, _, names in os.walk(folder):
        for name in names:
            with Path(where, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(where))
