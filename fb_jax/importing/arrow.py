"""Tables of record batches, and a column of vectors in them as a matrix. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.importing.source import Choice, Columns, ReadRows, Source, pick


@dataclass(frozen=True)
class Part:
    """Some rows of a table, such as a file.

    Attributes:
        rows: Number of rows.
        read: Returns the record batches of some columns, from a row on.
    """

    rows: int
    read: Callable[[list[str], int], Iterator[Any]]


@dataclass(frozen=True)
class Table:
    """Record batches that are read when they are asked for.

    Attributes:
        path: The file or folder.
        schema: Names and types of the columns.
        parts: The rows, in order.

    Raises:
        FreeBindError: Two columns have the same name.
    """

    path: Path
    schema: Any
    parts: Sequence[Part]

    def __post_init__(self) -> None:
        names = list(self.schema.names)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise FreeBindError(
                "two columns of a table have the same name", where=self.path, got=", ".join(twice)
            )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def batches(self, names: Sequence[str], start: int = 0) -> Iterator[Any]:
        """Yield record batches of at most ``BLOCK_ROWS`` rows, from row ``start`` on."""
        for part in self.parts:
            if start < part.rows:
                for batch in part.read(list(names), start):
                    for first in range(0, batch.num_rows, BLOCK_ROWS):
                        yield batch.slice(first, BLOCK_ROWS)
            start = max(start - part.rows, 0)

    def columns(self) -> Columns:
        """Return the columns that can say what a row is: all that hold no vectors."""
        names = [name for name in self.schema.names if not is_vector(self.schema.field(name).type)]

        def rows(wanted: tuple[str, ...]) -> Iterator[dict[str, Any]]:
            for batch in self.batches(wanted):
                yield from batch.to_pylist()

        return Columns(self.path, {n: str(self.schema.field(n).type) for n in names}, rows)

    def source(self, kind: str, choice: Choice) -> Source:
        """Return a source of the rows of its column of vectors.

        Raises:
            FreeBindError: There is no such column, or not exactly one.
        """
        known = {name: str(self.schema.field(name).type) for name in self.schema.names}
        fit = [name for name in known if is_vector(self.schema.field(name).type)]
        name = pick("column of vectors", self.path, known, fit, choice.column, "--column")
        if name not in fit:
            raise FreeBindError(
                f"the column {name} holds no vectors",
                where=self.path,
                expected="lists of floats",
                got=known[name],
            )
        note = f"vectors: column `{name}`, {known[name]}"
        return Source(self.path, kind, VectorColumn(self, name), self.columns(), notes=(note,))


def skipped(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    """Yield record batches without the first rows."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(rows - batch.num_rows, 0)


def _storage(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)


def is_vector(kind: Any) -> bool:
    """Return whether a column of this type holds lists of floats."""
    types = import_extra("pyarrow", "parquet").types
    kind = _storage(kind)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and types.is_floating(kind.value_type)


class VectorColumn(ReadRows):
    """A column of lists of floats as rows ``[n, d]``; a null or empty list is a row of NaN.

    Slices that follow each other are read in one pass over the table.
    """

    def __init__(self, table: Table, name: str) -> None:
        self._table, self._name = table, name
        kind = _storage(table.schema.field(name).type)
        self._dtype = kind.value_type.to_pandas_dtype()
        size = getattr(kind, "list_size", None) or self._first_length()
        self.shape = (table.rows, size)
        self._at = -1
        self._stream: Iterator[np.ndarray] = iter(())
        self._rest = np.empty((0, size), self._dtype)

    def __getitem__(self, rows: slice) -> Float[np.ndarray, "r d"]:
        if rows.start != self._at:
            self._stream, self._rest = self._from(rows.start), self._rest[:0]
        count, taken = rows.stop - rows.start, [self._rest]
        while sum(map(len, taken)) < count:
            taken.append(next(self._stream))
        block = np.concatenate(taken)
        self._at, self._rest = rows.stop, block[count:]
        return block[:count]

    def _lists(self, start: int = 0) -> Iterator[Any]:
        for batch in self._table.batches([self._name], start):
            column = batch.column(self._name)
            yield getattr(column, "storage", column)

    def _first_length(self) -> int:
        """Return the greatest length in the first batch that has a list; 0 if none has."""
        pc = import_extra("pyarrow.compute", "parquet")
        lengths = (pc.max(pc.list_value_length(lists)).as_py() for lists in self._lists())
        return next(filter(None, lengths), 0)

    def _from(self, row: int) -> Iterator[Float[np.ndarray, "r d"]]:
        for lists in self._lists(row):
            yield self._matrix(lists, row)
            row += len(lists)

    def _matrix(self, lists: Any, first: int) -> Float[np.ndarray, "r d"]:
        pc = import_extra("pyarrow.compute", "parquet")
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        there = lengths > 0
        strange = np.flatnonzero(there & (lengths != self.shape[1]))
        if len(strange):
            raise FreeBindError(
                f"the vectors of column {self._name} differ in length",
                where=f"{self._table.path}, row {first + strange[0]}",
                expected=f"{self.shape[1]} numbers",
                got=f"{lengths[strange[0]]} numbers",
            )
        rows = np.full((len(lists), self.shape[1]), np.nan, self._dtype)
        values = lists.drop_null().flatten().to_numpy(zero_copy_only=False)
        rows[there] = values.reshape(there.sum(), self.shape[1])
        return rows
