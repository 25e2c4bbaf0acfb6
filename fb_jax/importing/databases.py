"""Tables of other libraries: Hugging Face datasets on disk, and LanceDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.extras import import_extra
from fb_jax.importing.arrow import Part, Table
from fb_jax.importing.source import Choice, Source, pick


def open_dataset(path: Path, choice: Choice) -> list[Source]:
    """Open a folder that ``save_to_disk`` wrote; ``choice.key`` names one of several splits."""
    loaded = import_extra("datasets", "datasets").load_from_disk(str(path))
    notes: tuple[str, ...] = ()
    if isinstance(loaded, dict):
        splits = {name: f"{len(part)} rows" for name, part in loaded.items()}
        key = pick("split of the dataset", path, splits, list(splits), choice.key, "--key")
        loaded, notes = loaded[key], (f"split of the dataset: `{key}`",)
    arrow = loaded.with_format("arrow")

    def read(names: list[str], start: int) -> Iterator[Any]:
        chosen = arrow.select_columns(names)
        for first in range(start, len(loaded), BLOCK_ROWS):
            yield from chosen[first : first + BLOCK_ROWS].to_batches()

    table = Table(path, loaded.data.schema, [Part(len(loaded), read)])
    source = table.source("a Hugging Face dataset", choice)
    return [replace(source, notes=notes + source.notes)]


def open_lance(path: Path, choice: Choice) -> list[Source]:
    """Open a table of LanceDB, the folder ``NAME.lance`` in its database."""
    rows = import_extra("lancedb", "lancedb").connect(path.parent).open_table(path.stem)
    count = rows.count_rows()

    def read(names: list[str], start: int) -> Iterator[Any]:
        chosen = rows.search().select(names)
        for first in range(start, count, BLOCK_ROWS):  # one query would read far ahead
            yield from chosen.offset(first).limit(BLOCK_ROWS).to_batches(batch_size=BLOCK_ROWS)

    table = Table(path, rows.schema, [Part(count, read)])
    return [table.source("a LanceDB table", choice)]
