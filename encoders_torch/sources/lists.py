"""Lists of items in text, CSV, JSON lines or Parquet files, read row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from encoders_torch.explain import explained
from fb_jax import files
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

Row = Mapping[str, Any]
LONGEST_FIELD = 10**9
"""Characters of a CSV field: a caption may be a book."""


class CaptionRow(msgspec.Struct):
    """What a row of a list of captions holds."""

    id: str | int | float | None = None
    caption: str | None = None


class PathRow(msgspec.Struct):
    """What a row of a list of media files holds."""

    id: str | int | float | None = None
    path: str | None = None


KINDS = {"caption": CaptionRow, "path": PathRow}


@dataclass(frozen=True)
class OpenList:
    """Items of a list. Every iteration reads the file again; errors come then.

    An item's id is in the column ``id``. Without it, a path is its own id, and a caption's id is
    the number of its row. A caption or path that is null becomes empty, so that this item fails
    and no other.

    Attributes:
        path: The list.
        column: Column of the items: ``caption`` or ``path``.
    """

    path: Path
    column: str

    def __iter__(self) -> Iterator[Item]:
        try:
            for number, row in enumerate(LISTS[self.path.suffix.lower()](self.path, self.column)):
                if number == 0:
                    self._require_column(row)
                yield self._item(number, row)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FreeBindError(
                "a list cannot be read", where=self.path, expected="UTF-8 text", got=error
            ) from error

    def _require_column(self, first: Row) -> None:
        if self.column not in first:
            raise FreeBindError(
                f"a list has no {self.column}",
                where=f"{self.path}, row 1",
                expected=f'text under "{self.column}"',
                got=f"columns: {', '.join(map(str, first)) or 'none'}",
            )

    def _item(self, number: int, row: Row) -> Item:
        found = {name: row[name] for name in ("id", self.column) if name in row}
        where = f"{self.path}, row {number + 1}"
        fields: Any = files.convert(found, KINDS[self.column], where)
        value = getattr(fields, self.column) or ""
        name = fields.id
        if name is None or name == "":
            name = value if self.column == "path" and value else number
        return {"id": str(name), self.column: value}


def _read_text(path: Path, column: str) -> Iterator[Row]:
    return ({column: line} for line in files.read_lines(path))


def _read_csv(path: Path, column: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    with io.TextIOWrapper(files.open_regular(path), encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _read_jsonl(path: Path, column: str) -> Iterator[Row]:
    return files.read_jsonl(path, dict[str, Any])


def _read_parquet(path: Path, column: str) -> Iterator[Row]:
    fix = "pip install 'freebind-jax[parquet]'"
    with explained("Parquet lists need pyarrow", where=path, fix=fix):
        import pyarrow.parquet
    with files.open_regular(path), explained("a Parquet file cannot be read", where=path):
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
