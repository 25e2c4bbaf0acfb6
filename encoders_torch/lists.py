"""Lists of items: a text file, CSV, JSON lines or Parquet, read a row at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class OpenList:
    """Items of a list; iterated as often as one likes, never held.

    An item's id is the column ``id``; without it, a path is its own id, and a caption's is the
    number of its row.

    Attributes:
        path: Of the list.
        column: ``caption`` or ``path``: what an item is.
    """

    path: Path
    column: str

    def __iter__(self) -> Iterator[Item]:
        try:
            for number, row in enumerate(LISTS[self.path.suffix.lower()](self.path, self.column)):
                yield self._item(number, row)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FreeBindError(
                "a list cannot be read", where=self.path, expected="UTF-8 text", got=error
            ) from error

    def _item(self, number: int, row: Row) -> Item:
        value = row.get(self.column)
        if not isinstance(value, str) or (self.column == "path" and not value):
            raise FreeBindError(
                f"a row of a list has no {self.column}",
                where=f"{self.path}, row {number + 1}",
                expected=f'text under "{self.column}"',
                got=_shown(value, row),
            )
        name = row.get("id")
        if name is None or name == "":
            name = value if self.column == "path" else number
        _require_unicode(f"{name}{value}", f"{self.path}, row {number + 1}")
        return {"id": str(name), self.column: value}


def open_list(path: Path, column: str) -> OpenList:
    """Return the items of a list; see ``OpenList``. Errors come when it is read."""
    return OpenList(path, column)


def _require_unicode(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a character
        raise FreeBindError("a row of a list is no Unicode text", where=where, got=error) from error


def _shown(value: object, row: Row) -> str:
    found = ", ".join(map(str, row)) or "no columns"
    return f"columns: {found}" if value is None else repr(value)


def _read_text(path: Path, column: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            yield {column: line.removesuffix("\n")}


def _read_csv(path: Path, column: str) -> Iterator[Row]:
    csv.field_size_limit(10**9)  # a caption may be a book
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _read_jsonl(path: Path, column: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if not isinstance(row, dict):
                raise FreeBindError(
                    "a line is no JSON object",
                    where=f"{path}, line {number}",
                    got=line[:80].strip(),
                )
            yield row


def _read_parquet(path: Path, column: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FreeBindError(
            "Parquet lists need pyarrow", where=path, fix="pip install 'freebind-jax[parquet]'"
        ) from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [name for name in ("id", column) if name in file.schema_arrow.names]
        for batch in file.iter_batches(4096, columns=columns):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise FreeBindError("a Parquet file cannot be read", where=path, got=error) from error


LISTS: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
"""How to read a list, by its suffix: the list, and the column that is wanted."""
