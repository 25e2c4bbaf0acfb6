"""Writing a sharded array, shard by shard: in any order by several processes, or row by row.

A finished shard ``emb_00003.npy`` has a record, ``parts/00003.json``. The process that finds all
records writes the manifest; until then ``partial.json`` describes the array.
"""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from fb_jax import files
from fb_jax.banks.manifest import MANIFEST, PARTIAL, Manifest, Shard, new_manifest, pick_up
from fb_jax.errors import FreeBindError, notice_once

SHARD_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class _Record:
    """What is known of a finished shard."""

    shard: Shard
    note: Any


class PartWriter:
    """Writes the shards of an array in any order; opened again, it knows those that are finished.

    Args:
        folder: Where the array goes.
        dim: Number of columns.
        count: Number of rows, known from the start.
        dtype: "float16" or "float32".
        about: What the rows mean; part of the array's identity.
        late: Names that ``close`` adds to ``about``; not part of the identity.
        shard_rows: Rows of every shard but the last.

    Raises:
        FreeBindError: The folder holds another array, or cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        count: int,
        dtype: str = "float16",
        about: dict[str, Any] | None = None,
        late: tuple[str, ...] = (),
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self.folder, self.parts = folder, folder / "parts"
        self.manifest = new_manifest(folder, dim, dtype, count, shard_rows, about or {})
        if self.finished:
            pick_up(folder, self.manifest, late)
            return
        with self._alone():
            if pick_up(folder, self.manifest, late) is None:
                files.write_json(folder / PARTIAL, self.manifest.to_json())

    @property
    def finished(self) -> bool:
        """Whether the array is complete, with its manifest."""
        return (self.folder / MANIFEST).exists()

    @property
    def shards(self) -> range:
        """Numbers of the shards."""
        return range(-(-self.manifest.count // self.manifest.shard_rows))

    def rows_of(self, shard: int) -> range:
        """Return the rows of a shard."""
        first = shard * self.manifest.shard_rows
        return range(first, min(first + self.manifest.shard_rows, self.manifest.count))

    def done(self, shard: int) -> bool:
        """Whether a shard is safe on disk."""
        return self.finished or self._record(shard).exists()

    def note(self, shard: int) -> Any:
        """Return the note of a finished shard of an unfinished array."""
        return files.read_json(self._record(shard), _Record).note

    def _record(self, shard: int) -> Path:
        return self.parts / f"{shard:05d}.json"

    @contextmanager
    def claimed(self, shards: Iterable[int]) -> Iterator[None]:
        """Hold shards for this process; the lock of a killed process ends with it.

        What a killed process left of them is removed: half-written files, and shards that do not
        have the digest which their record says.

        Raises:
            FreeBindError: Another process holds one of them.
        """
        if self.finished:
            yield
            return
        with (self.folder / ".claims").open("a") as file:
            for shard in shards:  # byte i stands for shard i
                lock = partial(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
                own = "or give each process a --shard-id of its own"
                if files.take(lock, self.folder, f"shard {shard} is taken", own):
                    files.remove_partial(self.folder, f"{self._name(shard)}.*")
                    files.remove_partial(self.parts, f"{self._record(shard).name}.*")
                    self._forget_altered(shard)
            yield

    def _forget_altered(self, shard: int) -> None:
        """Forget a finished shard whose bytes were altered or lost, so that it is written again."""
        record, path = self._record(shard), self.folder / self._name(shard)
        if not record.exists() or self.finished:
            return
        wanted = files.read_json(record, _Record).shard.sha256
        if not path.exists() or files.sha256_of(path, "a shard") != wanted:
            notice_once(f"{path}: altered since it was written; it is written again")
            record.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process opens or closes this array."""
        with files.locked(self.folder, wait=True, name=".opening") as held:
            for name in (MANIFEST, PARTIAL) if held else ():
                files.remove_partial(self.folder, f"{name}.*")
            yield

    def _name(self, shard: int) -> str:
        return f"emb_{shard:05d}.npy"

    def write(self, shard: int, rows: Shaped[np.ndarray, "r d"], note: Any = None) -> None:
        """Write a shard in the array's dtype; ``note`` is kept for ``close``.

        Raises:
            FreeBindError: The rows have another shape than the shard, or the disk is full.
        """
        expected = (len(self.rows_of(shard)), self.manifest.dim)
        if rows.shape != expected:
            raise FreeBindError(
                "these rows do not fit the shard that is being written",
                where=self.folder,
                expected=expected,
                got=rows.shape,
            )
        path = self.folder / self._name(shard)
        files.write_npy(path, np.asarray(rows, self.manifest.dtype))
        self._write_record(Shard(path.name, len(rows), files.sha256_of(path)), shard, note)

    def _write_record(self, shard: Shard, number: int, note: Any = None) -> None:
        files.write_json(self._record(number), {"shard": dataclasses.asdict(shard), "note": note})

    def keep(self, shards: int) -> None:
        """Forget all shards but the first ones, and that the array is finished."""
        if self.finished:
            whole = Manifest.read(self.folder / MANIFEST)
            for number, shard in enumerate(whole.shards[:shards]):
                self._write_record(shard, number)
            files.write_json(self.folder / PARTIAL, self.manifest.to_json())
            (self.folder / MANIFEST).unlink()
        for number in self.shards[shards:]:
            self._record(number).unlink(missing_ok=True)

    def close(self, sum_up: Callable[[list[Any]], dict[str, Any]]) -> bool:
        """Write the manifest if all shards are there.

        Args:
            sum_up: Called with the notes of all shards, in order, while no other process closes
                this array; returns the late part of ``about``.

        Returns:
            Whether the array is complete now.
        """
        with self._alone():
            if not self.finished:
                if not all(map(self.done, self.shards)):
                    return False
                self._finish(sum_up)
            shutil.rmtree(self.parts, ignore_errors=True)
            (self.folder / PARTIAL).unlink(missing_ok=True)
        return True

    def _finish(self, sum_up: Callable[[list[Any]], dict[str, Any]]) -> None:
        records = [files.read_json(self._record(shard), _Record) for shard in self.shards]
        about = self.manifest.about | files.json_types(sum_up([r.note for r in records]))
        shards = tuple(record.shard for record in records)
        whole = dataclasses.replace(self.manifest, about=about, shards=shards)
        files.write_json(self.folder / MANIFEST, whole.to_json())


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
            self._parts.keep(self._next)

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
