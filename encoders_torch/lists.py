"""Lists of items in text, CSV, JSON lines or Parquet files, read row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders_torch.explain import explained
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class OpenList:
    """Items of a list. Every iteration reads the file again; errors come then.

    An item's id is in the column ``id``. Without it, a path is its own id, and a caption's id is
    the number of its row.

    Attributes:
        path: The list.
        column: Column of the items: ``caption`` or ``path``.
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
        require_unicode(f"{name}{value}", "a row of a list", f"{self.path}, row {number + 1}")
        return {"id": str(name), self.column: value}


def require_unicode(text: str, what: str, where: object) -> None:
    """Raise a FreeBindError if a text has half a character, as file names and JSON can have."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FreeBindError(f"{what} is no valid Unicode", where=where, got=repr(text)) from error


def _shown(value: object, row: Row) -> str:
    columns = ", ".join(map(str, row)) or "no columns"
    return f"columns: {columns}" if value is None else repr(value)


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
    fix = "pip install 'freebind-jax[parquet]'"
    with explained("Parquet lists need pyarrow", where=path, fix=fix):
        import pyarrow.parquet
    with explained("a Parquet file cannot be read", where=path):
        file = pyarrow.parquet.ParquetFile(path)
        columns = [name for name in ("id", column) if name in file.schema_arrow.names]
        for batch in file.iter_batches(4096, columns=columns):
            yield from batch.to_pylist()


LISTS: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
"""Reader of a list by its suffix. It takes the path, and the column of the items."""
