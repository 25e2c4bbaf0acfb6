"""Parquet files: lists of captions or paths, or media in their cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from encoders_torch.explain import explained
from encoders_torch.media import Media, MediaOptions
from encoders_torch.sources.embedded import holds_media, media_in, row_in
from encoders_torch.sources.files import on_disk
from encoders_torch.sources.folder import shards_in
from encoders_torch.sources.options import SourceOptions
from encoders_torch.sources.row_group import UNREADABLE, cell_of
from encoders_torch.sources.source import Source
from encoders_torch.sources.table import TEXT, Row, Table, items_of
from fb_jax import files
from fb_jax.errors import FreeBindError, unknown
from fb_jax.extras import import_extra

SUFFIX = ".parquet"
BATCH_ROWS = 4096


def open_parquet(modality: str, path: Path, options: SourceOptions) -> Source:
    """Open a Parquet file, or the Parquet files of a folder in the order of their names."""
    paths = shards_in(path, SUFFIX) if path.is_dir() else [path]
    folder = path if path.is_dir() else path.parent
    schema = _schema(paths[0])
    media = frozenset(field.name for field in schema if holds_media(field.type))
    names = files.require_column_names(schema.names, path, "the schema")
    table = Table(path, names, partial(_read, paths, media))
    items = items_of(table, modality, options)
    if modality == TEXT:
        return Source(items)
    column = items.contents[0]
    find = ParquetMedia(folder, column, options.media) if column in media else None
    return Source(items, folder, options.media, find)


def _schema(path: Path) -> Any:
    files.open_regular(path, "a list").close()
    parquet = import_extra("pyarrow.parquet", "parquet")
    with explained(UNREADABLE, where=path), parquet.ParquetFile(path) as file:
        return file.schema_arrow


def _read(paths: Sequence[Path], media: frozenset[str], columns: tuple[str, ...]) -> Iterator[Row]:
    """Yield rows; media are named, not read."""
    parquet = import_extra("pyarrow.parquet", "parquet")
    plain = [column for column in columns if column not in media]
    for path in paths:
        opened = partial(parquet.ParquetFile, path, page_checksum_verification=True)
        with explained(UNREADABLE, where=path), opened() as file:
            _require_columns(file, columns, path)
            rows = _rows(file, plain) if plain else ({} for _ in range(file.metadata.num_rows))
            for number, row in enumerate(rows):
                yield row | {
                    column: f"{path.name}#{number}" for column in columns if column in media
                }


def _require_columns(file: Any, columns: Sequence[str], path: Path) -> None:
    """Raise a FreeBindError if a file of a folder lacks a column: pyarrow would pass over it."""
    for column in columns:
        if column not in file.schema_arrow.names:
            raise unknown("column", column, file.schema_arrow.names, path)


def _rows(file: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(BATCH_ROWS, columns=columns):
        yield from batch.to_pylist()


@dataclass(frozen=True)
class ParquetMedia:
    """Media in a column of Parquet files.

    Attributes:
        folder: Folder of the files.
        column: Name of the column.
        options: How media are read.
    """

    folder: Path
    column: str
    options: MediaOptions

    def __call__(self, text: str) -> Media:
        """Read ``FILE#ROW``."""
        name, row = row_in(text)
        path = on_disk(self.folder, name)
        starts = _group_starts(path, files.state_of(path, "a Parquet file"))
        if row >= starts[-1]:
            raise FreeBindError(
                "there is no such row", where=path, expected=f"below {starts[-1]}", got=row
            )
        group = int(np.searchsorted(starts, row, side="right")) - 1
        cell = cell_of(path, group, row - int(starts[group]), self.column)
        return media_in(cell, text, self.folder, self.options)


@lru_cache(maxsize=1024)
def _group_starts(path: Path, _state: files.State) -> np.ndarray:
    """Return the first rows of the row groups of a file, and the number of all rows."""
    parquet = import_extra("pyarrow.parquet", "parquet")
    with explained(UNREADABLE, where=path), parquet.ParquetFile(path) as file:
        about = file.metadata
        return np.cumsum([0] + [about.row_group(i).num_rows for i in range(about.num_row_groups)])
