"""Room and permissions on disk, before long work."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fb_jax.errors import FreeBindError

MOST_NAME = 255


def nearest_existing(path: Path) -> Path:
    """Return ``path`` or the first of its parents that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def require_path(path: Path) -> None:
    """Raise a FreeBindError unless a path can be one, and can be written down as text."""
    text, fault = str(path), None
    if "\0" in text:
        fault = "a null character in its name"
    elif any("\ud800" <= letter <= "\udfff" for letter in text):
        fault = "its name is no valid Unicode, so that no file can record it"
    elif any(len(part.encode()) > MOST_NAME for part in path.parts):
        fault = f"a name of more than {MOST_NAME} bytes"
    if fault:
        raise FreeBindError("this cannot be a path", where=path, got=fault, fix="choose another")


def require_no_file(folder: Path) -> None:
    """Raise a FreeBindError if a file is where a folder is to be."""
    if folder.exists() and not folder.is_dir():
        raise FreeBindError(
            "this is a file, not a folder", where=folder, fix="choose another folder with --out"
        )


def require_writable(folder: Path) -> None:
    """Raise a FreeBindError unless files can be made in ``folder`` (which need not exist yet)."""
    require_path(folder)
    try:
        base = nearest_existing(folder)
        require_no_file(base)
        with tempfile.TemporaryFile(dir=base):  # permission bits alone do not tell, so try it
            pass
    except OSError as error:
        raise FreeBindError(
            "no permission to write here",
            where=folder,
            got=error,
            fix="choose another folder with --out, or change its permissions",
        ) from error


def require_file_to_write(path: Path) -> None:
    """Raise a FreeBindError unless a file can be written under this name, before long work."""
    require_writable(path.parent)
    if path.is_dir():
        raise FreeBindError(
            "a file cannot be written", where=path, expected="a name of a file", got="a folder"
        )


def free_bytes(folder: Path) -> int:
    """Return the free space, in bytes, of the disk that ``folder`` is or would be on."""
    return shutil.disk_usage(nearest_existing(folder)).free


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is none."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process may be deleting
                total += Path(where, name).lstat().st_size
    return total


def require_space(needs: Mapping[Path, int]) -> None:
    """Raise a FreeBindError unless there is room for everything at once.

    Args:
        needs: Folder to the bytes that will be written there; folders may share a disk.
    """
    disks: dict[int, list[Path]] = {}
    for folder in needs:
        disks.setdefault(nearest_existing(folder).stat().st_dev, []).append(folder)
    for folders in disks.values():
        needed, free = sum(max(needs[folder], 0) for folder in folders), free_bytes(folders[0])
        if free < needed:
            raise FreeBindError(
                "too little disk space",
                where=", ".join(map(str, folders)),
                expected=f"{gigabytes(needed)} free",
                got=f"{gigabytes(free)} free",
                fix="free some space, or choose folders on another disk with --out and --store",
            )


def gigabytes(count: int | float) -> str:
    """Return a number of bytes as people read it: ``1.50 GB`` (10^9), or MB below that."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
