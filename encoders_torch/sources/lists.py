"""Lists of items in text, CSV, TSV or JSON lines files, read row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from encoders_torch.sources.table import Fault, Row, Table
from fb_jax import files
from fb_jax.files import read_lines

LOOKED_AT = 1000
"""Objects of a ``.jsonl`` that are read to know its keys."""

KEPT = "surrogateescape"
"""Bytes that are not UTF-8 stay in the text, so that they spoil no other line."""


def _open_text(path: Path) -> Table:
    def read(columns: tuple[str, ...]) -> Iterator[Row]:
        return ({columns[0]: line} for line in read_lines(path, errors=KEPT))

    return Table(path, ("caption", "path"), read)


def _open_cells(path: Path) -> Table:
    names = files.require_column_names(_first_line(path), path)
    return Table(path, names, partial(_read_cells, path, names))


def _first_line(path: Path) -> list[str]:
    return next(files.read_cells(path, errors=KEPT), (1, []))[1]


def _read_cells(path: Path, names: list[str], _columns: tuple[str, ...]) -> Iterator[Row]:
    before = 1
    for number, cells in islice(files.read_cells(path, errors=KEPT), 1, None):
        if not cells:
            lines = f"line {number}" if number == before + 1 else f"lines {before + 1} to {number}"
            yield Fault(f"{lines}: double quotes are wrong")
        elif len(cells) != len(names):
            yield Fault(f"line {number} has {len(cells)} cells, and the first one {len(names)}")
        else:
            yield dict(zip(names, cells, strict=True))
        before = number


def _open_objects(path: Path) -> Table:
    names: dict[str, None] = {}
    for row in islice(_read_objects(path, ()), LOOKED_AT):
        names |= {} if isinstance(row, Fault) else dict.fromkeys(row)
    return Table(path, tuple(names), partial(_read_objects, path))


def _read_objects(path: Path, _columns: tuple[str, ...]) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path, errors=KEPT), 1):
        if not line.strip():
            continue
        value = _object(line)
        yield Fault(f"line {number} is no JSON object") if value is None else value


def _object(line: str) -> dict[str, Any] | None:
    """Return the object of a line, of which NaN may be a value: pandas writes null so."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


LISTS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": _open_cells,
    ".jsonl": _open_objects,
    ".tsv": _open_cells,
    ".txt": _open_text,
}
"""Opens a list, by its suffix."""
