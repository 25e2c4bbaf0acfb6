"""Canonical JSON, and SHA-256 of files and values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any

from fb_jax.errors import FreeBindError
from fb_jax.files.regular import open_regular

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
SEAL = "sha256"
"""Key of the digest that a JSON object holds of its other keys."""


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces that could differ."""
    return _encode(value).encode()


def json_types(value: Any) -> Any:
    """Return a value as JSON would bring it back: tuples become lists."""
    return json.loads(canonical_json(value))


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a digest of itself, so that a flipped bit is noticed."""
    plain = {name: part for name, part in value.items() if name != SEAL}
    return {SEAL: sha256_of_json(plain), **plain}  # first: its line can be deleted


def sha256_of(path: Path, what: str = "a file") -> str:
    """Return the SHA-256 of a file's bytes, in hex; ``what`` it is, for messages."""
    try:
        with open_regular(path, what) as file:
            return sha256_of_stream(file)
    except OSError as error:
        raise FreeBindError(f"{what} cannot be read", where=path, got=error) from error


def sha256_of_stream(file: IO[bytes]) -> str:
    """Return the SHA-256 of the bytes from here to the end of a file, in hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return sha256_of_bytes(canonical_json(value))
