"""Digests of big files, remembered in the user's cache, so that each is read once."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from fb_jax.errors import FreeBindError
from fb_jax.files.digests import sha256_of_stream
from fb_jax.files.kinds import Sha256
from fb_jax.files.reading import read_json
from fb_jax.files.regular import open_regular
from fb_jax.files.writing import write_json

SETTLED = 2 * 10**9
"""Nanoseconds for which a file must have been left alone: clocks of disks may be that coarse."""


@dataclass(frozen=True)
class _Entry:
    """A digest, and the file that had it: its size, and when its bytes and its entry changed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    digest: Sha256


def remembered_sha256(path: Path, what: str = "a file") -> str:
    """Return the SHA-256 of a file's bytes, in hex; see ``sha256_of``.

    A file that has the same size and times as when it was last read here is not read again. Only
    for what somebody records: to notice altered bytes, call ``sha256_of``.

    Args:
        path: The file.
        what: It is, for messages.

    Raises:
        FreeBindError: The file cannot be read.
    """
    try:
        with open_regular(path, what) as file:
            return _digest(file)
    except OSError as error:
        raise FreeBindError(f"{what} cannot be read", where=path, got=error) from error


def _digest(file: IO[bytes]) -> str:
    before = os.fstat(file.fileno())
    place = _cache() / f"{before.st_dev}-{before.st_ino}.json"
    known = _recalled(place)
    if known is not None and known == _entry(before, known.digest):
        return known.digest
    entry, after = _entry(before, sha256_of_stream(file)), os.fstat(file.fileno())
    changed = max(after.st_mtime_ns, after.st_ctime_ns)
    if entry == _entry(after, entry.digest) and time.time_ns() - changed > SETTLED:
        with contextlib.suppress(FreeBindError):  # a cache that cannot be written to
            write_json(place, asdict(entry))
    return entry.digest


def _cache() -> Path:
    """Return the folder of the remembered digests; without a home, one that cannot be."""
    asked = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        caches = asked if asked.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        caches = Path(os.devnull)
    return caches / "freebind" / "digests"


def _recalled(place: Path) -> _Entry | None:
    """Return an entry of the cache; None if it is missing or damaged."""
    try:
        return read_json(place, _Entry)
    except FreeBindError:
        return None


def _entry(stat: os.stat_result, digest: str) -> _Entry:
    return _Entry(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest)
