"""The protocol for row sources: ``[n, d]`` rows, read by slice or by an array of row numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer, Shaped

BLOCK_ROWS = 16384
"""Rows that are read at once, so that a bank may be larger than memory."""

Progress = Callable[[int], None]
"""Called with the number of rows just done."""


def no_progress(_rows: int) -> None:
    """Report nothing."""


@runtime_checkable
class Rows(Protocol):
    """Anything read like an ``[n, d]`` array: by slice or by an array of row numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


def blocks_of(rows: Rows, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield ``(first row, block)`` from row ``start`` to the last."""
    for first in range(start, len(rows), BLOCK_ROWS):
        yield first, rows[first : first + BLOCK_ROWS]


class Concatenated:
    """Several row sources read as one, one after the other; rows are copied, in ``dtype``.

    Args:
        parts: Sources with the same number of columns.
        dim: That number.
        dtype: Of what is read.
    """

    def __init__(self, parts: Sequence[Rows], dim: int, dtype: np.dtype | type) -> None:
        self.parts = parts
        self.dtype = np.dtype(dtype)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Integer[np.ndarray, " r"]) -> Shaped[np.ndarray, "r d"]:
        if not isinstance(rows, slice):
            return self._read_rows(rows)
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self._read_rows(np.arange(start, stop, step))
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        for first, part in zip(self._starts[:-1], self.parts, strict=True):
            low, high = max(start, first), min(stop, first + len(part))
            if low < high:
                out[low - start : high - start] = part[low - first : high - first]
        return out

    def _read_rows(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"row out of range: there are {len(self)}")
        rows = rows.astype(np.int64, copy=False)
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(part_of):
            here = part_of == number
            out[here] = self.parts[number][rows[here] - self._starts[number]]
        return out
