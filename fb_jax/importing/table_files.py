"""Tables in files: Parquet, and Arrow's own format (``.arrow``, ``.feather``, ``.ipc``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.importing.arrow import Part, Table, skipped
from fb_jax.importing.source import Choice, Columns, Source, reading

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
FILE_FORMAT, FEATHER_1 = b"ARROW1", b"FEA1"


def open_tables(path: Path, choice: Choice) -> list[Source]:
    """Open a Parquet or Arrow file, or a folder of them, by its column of vectors."""
    table = table_of(path)
    several = f"{len(table_paths(path))} files" if path.is_dir() else "a file"
    kind = "Parquet" if table_paths(path)[0].suffix.lower() in PARQUET else "Arrow"
    return [table.source(f"{kind}, {several}", choice)]


def open_table_columns(path: Path) -> Columns:
    """Open the columns of a Parquet or Arrow file, or of a folder of them."""
    with reading("a table cannot be read", path):
        return table_of(path).columns()


def table_paths(path: Path) -> list[Path]:
    """Return a file, or the tables in a folder in the order of the numbers in their names."""
    if not path.is_dir():
        return [path]
    found = [p for p in path.iterdir() if p.suffix.lower() in PARQUET + ARROW]
    return sorted((p for p in found if p.name[0] not in "._"), key=_numbers_first)


def _numbers_first(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def table_of(path: Path) -> Table:
    """Return the table of a file, or of the files in a folder.

    Raises:
        FreeBindError: The files of a folder have other columns than its first.
    """
    tables = [_open(file) for file in table_paths(path)]
    schema = tables[0].schema
    for table in tables:
        if not table.schema.equals(schema):
            raise FreeBindError(
                "the files of a folder differ in their columns",
                where=table.path,
                expected=f"the columns of {tables[0].path.name}: {_shown(schema)}",
                got=_shown(table.schema),
            )
    return Table(path, schema, [part for table in tables for part in table.parts])


def _shown(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _open(path: Path) -> Table:
    files.open_regular(path, "a table").close()
    return _parquet(path) if path.suffix.lower() in PARQUET else _arrow(path)


def _parquet(path: Path) -> Table:
    parquet = import_extra("pyarrow.parquet", "parquet")
    with parquet.ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
    groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
    ends = np.cumsum(groups)

    def read(names: list[str], start: int) -> Iterator[Any]:
        first = int(np.searchsorted(ends, start, side="right"))
        wanted = {"row_groups": range(first, len(groups)), "columns": names}
        with parquet.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            batches = file.iter_batches(BLOCK_ROWS, **wanted)
            yield from skipped(batches, start - int(ends[first] - groups[first]))

    return Table(path, schema, [Part(about.num_rows, read)])


def _arrow(path: Path) -> Table:
    """Open an Arrow file: of the file format, or of the stream format that has no index."""
    with files.open_regular(path) as file:
        start = file.read(len(FILE_FORMAT))
    if start.startswith(FEATHER_1):
        raise FreeBindError(
            "this is a Feather file of version 1, which pyarrow no longer reads",
            where=path,
            fix="write it again as Parquet or Feather version 2",
        )
    ipc = import_extra("pyarrow.ipc", "parquet")
    opened = ipc.open_file if start == FILE_FORMAT else ipc.open_stream
    memory_map = import_extra("pyarrow", "parquet").memory_map
    with memory_map(str(path)) as file:
        schema = opened(file).schema

    def read(names: list[str], start: int) -> Iterator[Any]:
        wanted = ipc.IpcReadOptions(included_fields=[schema.get_field_index(n) for n in names])
        with memory_map(str(path)) as file:
            reader = opened(file, options=wanted)
            count = getattr(reader, "num_record_batches", None)
            batches = iter(reader) if count is None else map(reader.get_batch, range(count))
            yield from skipped(batches, start)

    rows = sum(batch.num_rows for batch in read(schema.names[:1], 0))
    return Table(path, schema, [Part(rows, read)])
