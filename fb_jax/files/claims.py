"""Claims: what a folder holds, and what that was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fb_jax.errors import FreeBindError
from fb_jax.files.digests import json_types, sha256_of_json
from fb_jax.files.reading import read_json
from fb_jax.files.writing import PARTIAL, write_json


def claim(path: Path, identity: Any, what: str) -> str:
    """Mark a folder as holding one thing and no other.

    Args:
        path: A JSON file in the folder; written if the folder is empty.
        identity: What the thing is made from.
        what: Its name, plural, for the message.

    Returns:
        A digest of the identity, for the parts of the thing: a claim that was copied from
        elsewhere does not fit them.

    Raises:
        FreeBindError: The file records another identity, or the folder holds something without it.
    """
    if not path.exists():
        require_unclaimed(path, what)
        write_json(path, json_types(identity))
    return require_claim(path, identity, what)


def require_unclaimed(path: Path, what: str) -> None:
    """Raise a FreeBindError if the folder of a claim that does not exist holds anything."""
    names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    own = [name for name in names if not name.startswith(".") and not name.endswith(PARTIAL)]
    if own:
        raise FreeBindError(
            f"this folder holds something else, or has lost {path.name}, which says what its "
            f"{what} are made from",
            where=path.parent,
            expected=f"{path.name}, or an empty folder",
            got=", ".join(own[:5]),
            fix=f"restore {path.name} or choose another folder (--out or --folder)",
        )


def require_claim(path: Path, identity: Any, what: str) -> str:
    """Return the digest of a claim; raise a FreeBindError unless it is of this very thing."""
    found, wanted = read_json(path, dict[str, Any]), json_types(identity)
    if found != wanted:
        here, asked = differences(found, wanted)
        raise FreeBindError(
            f"this folder holds {what} that were made from something else",
            where=path,
            expected=f"{asked} (asked for)",
            got=f"{here} (already there)",
            fix="choose another folder (--out or --folder); "
            "delete this one only if you do not need it",
        )
    return sha256_of_json(wanted)


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
