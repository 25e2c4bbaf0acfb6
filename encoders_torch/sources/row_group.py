"""A column of a Parquet row group, read forwards, of which only a few rows are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from encoders_torch.explain import explained
from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra

UNREADABLE = "a Parquet file cannot be read"
ROWS = 16
"""Rows that are read at once: each may be a video."""

BUFFER = 1 << 20
"""Bytes of a file that are read at once."""


def cell_of(path: Path, group: int, row: int, column: str) -> Any:
    """Return a cell of a Parquet file, as plain Python.

    A process keeps the place in the row group that it read last, since neighbours are read in turn.
    Some programs write a whole file as one row group, and to read it whole takes three times its
    bytes.

    Args:
        path: The file.
        group: Number of the row group.
        row: Row within it.
        column: Name of the column.
    """
    return _forwards(path, files.state_of(path, "a Parquet file"), group, column).cell(row)


class _Forwards:
    """The cells of a column of a row group; a row before the last ones is found from the start."""

    def __init__(self, path: Path, group: int, column: str) -> None:
        self._path, self._group, self._column = path, group, column
        self._start()

    def _start(self) -> None:
        self._first, self._more = 0, self._blocks()
        self._cells: Any = []

    def _blocks(self) -> Iterator[Any]:
        parquet = import_extra("pyarrow.parquet", "parquet")
        how = {"buffer_size": BUFFER, "pre_buffer": False, "page_checksum_verification": True}
        with parquet.ParquetFile(self._path, **how) as file:
            batches = file.iter_batches(
                ROWS, row_groups=[self._group], columns=[self._column], use_threads=False
            )
            for batch in batches:
                yield batch.column(self._column)

    def cell(self, row: int) -> Any:
        """Return a cell."""
        if row < self._first:
            self._start()
        try:
            with explained(UNREADABLE, where=self._path):
                while row >= self._first + len(self._cells):
                    self._first += len(self._cells)
                    self._cells = next(self._more)
        except FreeBindError:
            self._start()  # it cannot go on
            raise
        return self._cells[row - self._first].as_py()


@lru_cache(maxsize=1)
def _forwards(path: Path, _state: files.State, group: int, column: str) -> _Forwards:
    return _Forwards(path, group, column)
