"""Reads regular files, and no pipes, devices or sockets: those could block or never end."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from fb_jax.errors import FreeBindError

SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special(path: Path) -> str | None:
    """Return what a pipe, device or socket is; None for files, folders, and where nothing is."""
    try:
        return SPECIAL.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def open_regular(path: Path | str) -> IO[bytes]:
    """Open a file for reading, in binary.

    Raises:
        FreeBindError: It is missing, may not be read, or is none: a pipe, device, socket, folder.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - the path may be text
        if kind == stat.S_IFREG:
            return Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise FreeBindError("a file cannot be read", where=path, got=error) from error
    raise FreeBindError(
        "a file cannot be read",
        where=path,
        expected="a regular file",
        got=SPECIAL.get(kind, "a folder"),
    )


def read_json(path: Path, kind: Any) -> Any:
    """Read a JSON file as a type: a struct, a dataclass, ``dict[str, Any]``.

    Raises:
        FreeBindError: It is missing, no JSON, or of another type.
    """
    with open_regular(path) as file:
        return _decode(file.read().removeprefix(BOM_UTF8), kind, path)


def read_jsonl(path: Path, kind: Any) -> Iterator[Any]:
    """Read every line of a file as ``read_json`` reads a file."""
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(BOM_UTF8) if number == 1 else line
            yield _decode(text, kind, f"{path}, line {number}")


def _decode(data: bytes, kind: Any, where: object) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _other_form(error, where) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FreeBindError("this is not valid JSON", where=where, got=error) from error


def convert(value: Any, kind: Any, where: object) -> Any:
    """Return a value, as JSON gives it, as a type.

    Raises:
        FreeBindError: It is of another type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _other_form(error, where) from error


def _other_form(error: Exception, where: object) -> FreeBindError:
    """Return the error for content of another type."""
    return FreeBindError("this content has another form", where=where, got=error)
