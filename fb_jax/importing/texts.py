"""Tables in text files: ``.txt`` (a caption a line), ``.csv``, ``.tsv`` and ``.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.importing.source import Columns, reading

LOOKED_AT = 1000
"""Objects of a ``.jsonl`` that are read to know its keys."""


def open_captions(path: Path) -> Columns:
    """Open a text with a caption a line."""
    files.open_regular(path, "a list").close()

    def rows(_names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        return ({"caption": line} for line in files.read_lines(path))

    return Columns(path, {"caption": "text"}, rows)


def open_delimited(path: Path) -> Columns:
    """Open a ``.csv`` or ``.tsv`` whose first line names the columns; an empty cell is None.

    Raises:
        FreeBindError: It is missing, no UTF-8, or names a column twice.
    """
    with reading("a table cannot be read", path):
        names = files.require_column_names(next(files.read_cells(path), (1, []))[1], path)
    return Columns(path, dict.fromkeys(names, "text"), partial(_read_named, path, names))


def _read_named(path: Path, names: list[str], _wanted: object) -> Iterator[dict[str, Any]]:
    for number, line in islice(files.read_cells(path), 1, None):
        if len(line) != len(names):
            raise FreeBindError(
                "a line has another number of cells than the first",
                where=f"{path}, line {number}",
                expected=len(names),
                got=len(line),
                fix="write a cell that holds the separator in double quotes",
            )
        yield {name: cell or None for name, cell in zip(names, line, strict=True)}


def open_objects(path: Path) -> Columns:
    """Open a ``.jsonl``: an object a line; the columns are the keys of the first objects."""
    types: dict[str, str] = {}
    for record in islice(_objects(path, ()), LOOKED_AT):
        types = {name: type(value).__name__ for name, value in record.items()} | types
    return Columns(path, types, partial(_objects, path), whole=True)


def _objects(path: Path, _names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(files.read_lines(path), 1):
        where, kind = f"{path}, line {number}", dict[str, Any]
        yield files.parse_json(line.encode(), "a line is no JSON object", where, kind)
