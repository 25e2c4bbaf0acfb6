"""Writing a sharded array row by row."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
from jaxtyping import Shaped

from fb_jax.banks.manifest import MANIFEST, Manifest
from fb_jax.banks.writers import PartWriter
from fb_jax.errors import FreeBindError


class ShardWriter:
    """Writes an array row by row, and continues where an earlier writer was stopped.

    Rows are buffered until a shard is full. Opened again with the same arguments, the writer has
    ``rows_done`` rows; append from there. No other process may write the array meanwhile: hold
    ``parts.claimed(parts.shards)``.

    Args:
        parts: Writer of its shards; a shard is the unit of resuming, and the memory held.
        first: Row of a growing bank that is the first one of this array.
    """

    def __init__(self, parts: PartWriter, first: int = 0) -> None:
        self.folder, self._parts, self.first = parts.folder, parts, first
        self._next = len(list(takewhile(self._parts.done, self._parts.shards)))
        self._buffer: list[np.ndarray] = []
        self._buffered = 0

    @property
    def manifest(self) -> Manifest:
        """The manifest of the array, without shards while it is unfinished."""
        path = self.folder / MANIFEST
        return Manifest.read(path) if path.exists() else self._parts.manifest

    @property
    def rows_done(self) -> int:
        """Rows that are safe on disk."""
        return min(self._next * self._parts.manifest.shard_rows, self._parts.manifest.count)

    @property
    def finished(self) -> bool:
        """Whether the array is complete, with its manifest."""
        return self._parts.finished

    def rewind(self, rows: int) -> None:
        """Forget buffered rows, and finished shards until at most ``rows`` rows remain.

        For arrays that are written in step when one of them has fewer rows.
        """
        self._buffer, self._buffered = [], 0
        if self.rows_done > rows:
            self._next = rows // self._parts.manifest.shard_rows
            self._parts.rewind(self._next)

    def append(self, rows: Shaped[np.ndarray, "r d"]) -> None:
        """Add rows after the last ones.

        Raises:
            FreeBindError: They have another width, there are too many, or the disk is full.
        """
        form, total = self._parts.manifest, self.rows_done + self._buffered + len(rows)
        if rows.shape[1] != form.dim or total > form.count:
            raise FreeBindError(
                "these rows do not fit the array that is being written",
                where=self.folder,
                expected=f"{form.dim} columns, at most {form.count} rows in all",
                got=f"{rows.shape[1]} columns, {total} rows in all",
            )
        self._buffer.append(np.array(rows, form.dtype))  # callers reuse their memory
        self._buffered += len(rows)
        while self._buffered >= form.shard_rows:
            self._flush()

    def _flush(self) -> None:
        block, rows = np.concatenate(self._buffer), len(self._parts.rows_of(self._next))
        self._parts.write(self._next, block[:rows])
        self._buffer, self._buffered = [block[rows:]], len(block) - rows
        self._next += 1

    def close(self) -> Manifest:
        """Write the last shard and the manifest, and return it.

        Raises:
            FreeBindError: Rows are missing.
        """
        if (rows := self.rows_done + self._buffered) != self._parts.manifest.count:
            raise FreeBindError(
                "an array was closed before all its rows were there",
                where=self.folder,
                expected=f"{self._parts.manifest.count} rows",
                got=f"{rows} rows",
                fix="append the rest; finished shards are kept",
            )
        if self._buffered:
            self._flush()
        self._parts.close(lambda _notes: {})
        return self.manifest
