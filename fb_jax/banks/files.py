"""Files that are whole or not there: atomic writes, digests, and checks before long work."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
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


def read_npy(path: Path, what: str) -> np.ndarray:
    """Read a ``.npy`` file that holds no objects.

    Args:
        path: Of the file.
        what: It is, for the message.

    Raises:
        FreeBindError: It is missing, truncated, or no such file.
    """
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FreeBindError(f"{what} cannot be read", where=path, got=error) from error
    return array


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


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces that could differ."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def json_types(value: Any) -> Any:
    """Return a value as JSON would bring it back: tuples become lists."""
    return json.loads(canonical_json(value))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FreeBindError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FreeBindError("a file is missing", where=path) from None
    except OSError as error:
        raise FreeBindError("a file cannot be read", where=path, got=error) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FreeBindError("a file is not valid JSON", where=path, got=error) from error


def claim(path: Path, identity: Any, what: str) -> None:
    """Mark a folder as holding one thing and no other.

    Args:
        path: A JSON file in the folder; written if it is missing.
        identity: What the thing is made from.
        what: Its name, plural, for the message.

    Raises:
        FreeBindError: The file records another identity.
    """
    if not path.exists():
        write_json(path, json_types(identity))
    require_claim(path, identity, what)


def require_claim(path: Path, identity: Any, what: str) -> None:
    """Raise a FreeBindError unless ``claim`` has marked a folder as holding this very thing."""
    found, wanted = read_json(path), json_types(identity)
    if found != wanted:
        here, asked = differences(found, wanted)
        raise FreeBindError(
            f"this folder holds {what} that were made from something else",
            where=path,
            expected=f"{asked} (asked for)",
            got=f"{here} (already there)",
            fix="choose another folder (--out); delete this one only if you do not need it",
        )


def differences(found: Any, wanted: Any, most: int = 5) -> tuple[str, str]:
    """Return where two JSON values differ, as text: what was found, and what was wanted."""
    left, right = dict(_leaves(found)), dict(_leaves(wanted))
    names = [name for name in {**right, **left} if left.get(name) != right.get(name)]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    texts = (
        ", ".join(f"{name} {side.get(name, 'not there')}" for name in names[:most]) + more
        for side in (left, right)
    )
    return next(texts), next(texts)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        inner = f"{name}.{key}" if name else str(key)
        if isinstance(part, dict | list) and part:
            yield from _leaves(part, inner)
        else:
            yield inner, part


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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FreeBindError("a file cannot be read", where=path, got=error) from error


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return sha256_of_bytes(canonical_json(value))


def nearest_existing(path: Path) -> Path:
    """Return ``path`` or the first of its parents that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def require_writable(folder: Path) -> None:
    """Raise a FreeBindError unless files can be made in ``folder`` (which need not exist yet)."""
    try:
        base = nearest_existing(folder)
        with tempfile.TemporaryFile(dir=base):  # permission bits alone do not tell, so try it
            pass
    except OSError as error:
        raise FreeBindError(
            "no permission to write here",
            where=folder,
            got=error,
            fix="choose another folder with --out, or change its permissions",
        ) from error


def free_bytes(folder: Path) -> int:
    """Return the free space, in bytes, of the disk that ``folder`` is or would be on."""
    return shutil.disk_usage(nearest_existing(folder)).free


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
