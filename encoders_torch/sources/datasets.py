"""Hugging Face data sets on disk: folders that ``save_to_disk`` wrote, and ``.arrow`` files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from encoders_torch.explain import explained
from encoders_torch.media import Media, MediaOptions
from encoders_torch.sources.embedded import holds_media, media_in, row_in
from encoders_torch.sources.files import on_disk
from encoders_torch.sources.options import SourceOptions
from encoders_torch.sources.source import Source
from encoders_torch.sources.table import TEXT, Row, Table, items_of
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.extras import import_extra

SUFFIX = ".arrow"
BATCH_ROWS = 4096
SPLITS, SPLIT = "dataset_dict.json", "state.json"


def is_dataset(path: Path) -> bool:
    """Return whether a path is a data set on disk."""
    return any((path / name).is_file() for name in (SPLITS, SPLIT)) or (
        path.suffix == SUFFIX and not path.is_dir()
    )


def open_dataset(modality: str, path: Path, options: SourceOptions) -> Source:
    """Open a data set; of several splits, name one by its folder: ``DATASET/train``."""
    path = _one_split(path if path.name not in ("", "..") else path.resolve())
    schema = _load(path).data.schema
    media = frozenset(field.name for field in schema if holds_media(field.type))
    names = files.require_column_names(schema.names, path, "the schema")
    table = Table(path, names, partial(_read, path, media))
    items = items_of(table, modality, options)
    if modality == TEXT:
        return Source(items)
    column = items.contents[0]
    find = DatasetMedia(path.parent, column, options.media) if column in media else None
    return Source(items, path.parent, options.media, find)


def _one_split(path: Path) -> Path:
    if not (path / SPLITS).is_file():
        return path
    splits = sorted(part.parent for part in path.glob(f"*/{SPLIT}"))
    if len(splits) != 1:
        raise FreeBindError(
            "this data set has several splits" if splits else "this data set has no split",
            where=path,
            expected="the folder of one of them",
            got=", ".join(map(str, splits)) or None,
        )
    notice_once(f"{path}: its split {splits[0].name}")
    return splits[0]


def _load(path: Path) -> Any:
    """Open a data set. Its files are mapped into memory, so processes may share it."""
    return _loaded(path, files.state_of(path / SPLIT if path.is_dir() else path, "a data set"))


@lru_cache(maxsize=8)
def _loaded(path: Path, _state: files.State) -> Any:
    datasets = import_extra("datasets", "datasets")
    with explained("a data set cannot be read", where=path):
        of_folder = path.is_dir()
        found = (
            datasets.load_from_disk(path) if of_folder else datasets.Dataset.from_file(str(path))
        )
        return found.with_format("arrow")  # which decodes nothing


def _read(path: Path, media: frozenset[str], columns: tuple[str, ...]) -> Iterator[Row]:
    """Yield rows; media are named, not read."""
    rows = _load(path)
    plain = [column for column in columns if column not in media]
    named = [column for column in columns if column in media]
    for start in range(0, len(rows), BATCH_ROWS):
        stop = min(start + BATCH_ROWS, len(rows))
        with explained("a data set cannot be read", where=path):
            found = rows.select_columns(plain)[start:stop].to_pylist() if plain else None
        for number in range(start, stop):
            row = found[number - start] if found else {}
            yield row | dict.fromkeys(named, f"{path.name}#{number}")


@dataclass(frozen=True)
class DatasetMedia:
    """Media in a column of a data set.

    Attributes:
        folder: Folder of the data set.
        column: Name of the column.
        options: How media are read.
    """

    folder: Path
    column: str
    options: MediaOptions

    def __call__(self, text: str) -> Media:
        """Read ``NAME#ROW``."""
        name, row = row_in(text)
        path = on_disk(self.folder, name)
        with explained("a data set cannot be read", where=path):
            cell = _load(path)[row][self.column][0].as_py()
        return media_in(cell, text, self.folder, self.options)
