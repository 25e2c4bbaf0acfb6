"""Reading files: one reader for each format, which raises nothing but a FreeBindError.

Libraries that parse raise whatever they like for a damaged file, so every reader here turns any
exception of a parser into our error. Sizes that a file claims are compared with its own before
anything is allocated.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from fb_jax.errors import FreeBindError
from fb_jax.files.digests import SEAL, sealed
from fb_jax.files.regular import open_regular

T = TypeVar("T")
MOST_JSON = 1 << 28
MOST_DEPTH = 64
MISFIT = "a file holds something else"


@contextmanager
def explained(what: str, where: object, fix: str | None = None) -> Iterator[None]:
    """Turn any exception but a FreeBindError into one: ``what`` is wrong with ``where``."""
    try:
        yield
    except (FreeBindError, MemoryError):  # too little memory is no fault of the file
        raise
    except OSError as error:  # the disk is at fault, not what the file holds
        what, fix = what.partition(":")[0], "look at the disk, then run the same command again"
        raise FreeBindError(what, where=where, got=error, fix=fix) from error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise FreeBindError(what, where=where, got=got, fix=fix) from error


def read_bytes(path: Path, most: int, what: str = "a file") -> bytes:
    """Read a whole file of at most ``most`` bytes.

    Raises:
        FreeBindError: It is missing, no regular file, or larger.
    """
    with explained(f"{what} cannot be read", path), open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read() if size <= most else b""
    if size > most:
        raise FreeBindError(
            f"{what} is longer than it should be", where=path, expected=f"at most {most:,} bytes"
        )
    return content


@overload
def read_json(path: Path) -> Any: ...
@overload
def read_json(path: Path, kind: type[T]) -> T: ...
def read_json(path: Path, kind: Any = Any) -> Any:
    """Read a JSON file.

    Args:
        path: Of the file.
        kind: What it must hold, as msgspec checks it: a type, a dataclass or a Struct.

    Returns:
        Its content, without the digest of itself.

    Raises:
        FreeBindError: It is missing, no JSON, altered since ``write_json``, or holds something
            else.
    """
    value = parse_json(read_bytes(path, MOST_JSON), "a file is not valid JSON", path)
    if isinstance(value, dict) and SEAL in value:
        recorded, value = value[SEAL], {n: part for n, part in value.items() if n != SEAL}
        if (found := sealed(value)[SEAL]) != recorded:
            raise FreeBindError(
                "this file was altered",
                where=path,
                expected=f"SHA-256 {recorded}",
                got=f"SHA-256 {found} of everything but that line",
                fix=f'restore it; if you changed it on purpose, delete the line of "{SEAL}"',
            )
    return convert(value, kind, path)


def read_lines(
    path: Path, what: str = "a list", *, ends: bool = False, errors: str = "strict"
) -> Iterator[str]:
    """Yield the lines of a UTF-8 text, with or without a byte order mark.

    A line ends at a line feed only, with or without a carriage return before it: a caption may hold
    U+2028 or a vertical tab.

    Args:
        path: Of the text.
        what: It is, for messages.
        ends: Whether to keep what ends the lines.
        errors: What to do with bytes that are not UTF-8; see ``bytes.decode``.

    Raises:
        FreeBindError: The file is missing, or a line is not UTF-8.
    """
    with open_regular(path, what) as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                _refuse_utf16(line, what, path)
            with explained(f"{what} is not UTF-8 text", f"{path}, line {number}"):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors)
            if text:
                yield text if ends else text.removesuffix("\n").removesuffix("\r")


def _refuse_utf16(line: bytes, what: str, path: Path) -> None:
    """Raise a FreeBindError for the first line of a UTF-16 text, with or without its mark."""
    if line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in line[:2]:
        raise FreeBindError(
            f"{what} is UTF-16 text", where=path, expected="UTF-8", fix="save it as UTF-8"
        )


def read_versioned(
    path: Path, version: tuple[str, int], what: str, fix: str | None = None
) -> dict[str, Any]:
    """Read a JSON object that names its format and version.

    Args:
        path: Of the file.
        version: The format and the version that it must have.
        what: It is, for the message.
        fix: What to do if it has others.

    Raises:
        FreeBindError: See ``read_json``; or it is of another format or version.
    """
    about = read_json(path)
    here = (about.get("format"), about.get("version")) if isinstance(about, dict) else (None, None)
    if here != version or isinstance(here[1], bool):  # True == 1
        raise FreeBindError(
            f"{what} has another format",
            where=path,
            expected=f"{version[0]}, version {version[1]}",
            got=f"{here[0]}, version {here[1]}",
            fix=fix,
        )
    found: dict[str, Any] = about
    return found


def read_jsonl(path: Path, kind: Any) -> Iterator[Any]:
    """Read the lines of a file, each as ``read_json`` reads a file.

    Raises:
        FreeBindError: The file is missing, or a line is no JSON or holds something else.
    """
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(BOM_UTF8) if number == 1 else line
            where = f"{path}, line {number}"
            yield parse_json(text, "a line is not valid JSON", where, kind)


@overload
def parse_json(content: bytes, what: str, where: object) -> Any: ...
@overload
def parse_json(content: bytes, what: str, where: object, kind: type[T]) -> T: ...
def parse_json(content: bytes, what: str, where: object, kind: Any = Any) -> Any:
    """Return the value of a JSON text; see ``read_json``."""
    with explained(what, where):
        value = msgspec.json.decode(content)
        _require_shallow(value)
    return convert(value, kind, where, what)


@overload
def convert(
    value: Any, kind: type[T], where: object, what: str = MISFIT, fix: str | None = None
) -> T: ...
@overload
def convert(
    value: Any, kind: Any, where: object, what: str = MISFIT, fix: str | None = None
) -> Any: ...
def convert(
    value: Any, kind: Any, where: object, what: str = MISFIT, fix: str | None = None
) -> Any:
    """Return plain types as ``kind``, which msgspec checks.

    Raises:
        FreeBindError: They do not fit.
    """
    with explained(what, where, fix):
        return msgspec.convert(value, kind)


def _require_shallow(value: Any) -> None:
    """Raise a ValueError for what is nested so deep that code which walks it could not."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [part for part in level if isinstance(part, dict | list)]
        level = [x for part in level for x in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise ValueError(f"nested more than {MOST_DEPTH} deep")
