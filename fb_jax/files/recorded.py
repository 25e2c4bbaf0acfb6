"""A ``.npy`` file with a record beside it: its SHA-256, and what its numbers belong to.

    NAME.npy     numbers
    NAME.json    {"npy": SHA-256 of the file, ...}

A record that is missing was lost, or never written by the tool that wrote the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fb_jax.errors import FreeBindError, notice_once
from fb_jax.files.digests import json_types, sha256_of, sha256_of_bytes
from fb_jax.files.npy_files import read_npy
from fb_jax.files.reading import read_json
from fb_jax.files.writing import npy_bytes, write_json, write_npy

ATTEMPTS = 5
"""How often a record is read again that does not fit: another process may be replacing it."""


def write_recorded(path: Path, array: np.ndarray, about: dict[str, Any]) -> None:
    """Write numbers and their record; a reader meanwhile sees the old ones or the new ones.

    Args:
        path: The ``.npy`` file.
        array: The numbers.
        about: What they belong to.
    """
    record, new = path.with_suffix(".json"), {**about, "npy": sha256_of_bytes(npy_bytes(array))}
    there = sha256_of(path) if path.exists() else ""
    known = _entries(path) if recorded(path) else []
    old = [entry for entry in known if entry and entry.get("npy") == there]
    write_json(record, new | ({"before": old[0]} if old else {}))
    write_npy(path, array)
    write_json(record, new)


def recorded(path: Path) -> bool:
    """Return whether a ``.npy`` file has a record."""
    return path.with_suffix(".json").exists()


def _entries(path: Path) -> list[Any]:
    """Return what the record of a file says: of the numbers, and of those that they replace."""
    found = read_json(path.with_suffix(".json"), dict[str, Any])
    before = found.pop("before", None)
    return [found, before]


def record_of(path: Path, what: str) -> dict[str, Any] | None:
    """Return what the numbers of a file belong to; None if it has no record.

    Args:
        path: The ``.npy`` file.
        what: It is, for messages.

    Raises:
        FreeBindError: The file is missing, or was altered since its record was written.
    """
    found = read_json(path.with_suffix(".json")) if recorded(path) else None
    if not isinstance(found, dict) or "npy" not in found:  # a record of another program
        return None
    for _ in range(ATTEMPTS):
        there = sha256_of(path, what)
        for entry in _entries(path):
            if entry and entry.get("npy") == there:
                return {name: part for name, part in entry.items() if name != "npy"}
    raise FreeBindError(
        f"{what} was altered after its record was written",
        where=path,
        expected=f"SHA-256 {found['npy']}",
        got=f"SHA-256 {there}",
        fix=f"write it again; if you changed it on purpose, delete {path.with_suffix('.json')}",
    )


def read_recorded(path: Path, what: str, about: dict[str, Any], fix: str) -> np.ndarray:
    """Read numbers and compare them with their record; without a record, a notice says so.

    Args:
        path: The ``.npy`` file.
        what: It is, for messages.
        about: What the numbers must belong to.
        fix: What to do if they do not.

    Raises:
        FreeBindError: They are missing, damaged, altered, or belong to something else.
    """
    if not recorded(path):
        notice_once(f"{path}: {what} without a record: nobody can tell if it was altered; {fix}")
        return read_npy(path, what)
    for _ in range(ATTEMPTS):
        wanted = json_types({**about, "npy": sha256_of(path, what)})
        entries = _entries(path)
        if wanted in entries:
            return read_npy(path, what)
    altered = entries[0].get("npy") != wanted["npy"]
    raise FreeBindError(
        f"{what} was altered" if altered else f"{what} belongs to something else",
        where=path,
        expected=entries[0],
        got=wanted,
        fix=fix,
    )
