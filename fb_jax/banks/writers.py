"""Writing a sharded array shard by shard, in any order, by any number of processes and hosts.

A finished shard ``emb_00003.npy`` has a record, ``parts/00003.json``. The process that finds all
records writes the manifest; until then ``partial.json`` describes the array. The first rows of a
shard that is not finished may be kept in ``parts/00003.begun.npy``.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from fb_jax import files
from fb_jax.banks import begun
from fb_jax.banks.manifest import MANIFEST, PARTIAL, Manifest, Shard, new_manifest, pick_up
from fb_jax.banks.shard_names import shard_name
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
        self._unproved: set[int] = set()
        if self.finished:
            pick_up(folder, self.manifest, late)
            return
        with self._alone():
            if pick_up(folder, self.manifest, late) is None:
                files.write_json(folder / PARTIAL, self.manifest.to_json())
        self._unproved.update(filter(self.done, self.shards))

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
        return self._record(shard).exists() or self.finished  # records go after the manifest came

    def note(self, shard: int) -> Any:
        """Return the note of a finished shard of an unfinished array."""
        return files.read_json(self._record(shard), _Record).note

    def _record(self, shard: int) -> Path:
        return self.parts / f"{shard:05d}.json"

    @contextmanager
    def taken(self, shard: int) -> Iterator[bool]:
        """Hold a shard, unless it is finished or another process or thread holds it.

        Any number of processes and hosts that try every shard in turn write an array together. See
        ``claimed`` for what becomes of the leftovers of a killed process.

        Yields:
            Whether the shard is this thread's to write.
        """
        with ExitStack() as stack:
            try:
                if not self.finished:
                    stack.enter_context(self._held(shard))
                free = not self.done(shard)
            except files.Taken:
                free = False
            yield free

    @contextmanager
    def claimed(self, shards: Iterable[int]) -> Iterator[None]:
        """Hold several shards at once; the locks of a killed process end with it.

        What a killed process left of them is removed: half-written files, and shards that do not
        have the digest which their record says.

        Raises:
            Taken: Another process or thread holds one of them.
        """
        with ExitStack() as stack:
            for shard in () if self.finished else shards:
                stack.enter_context(self._held(shard))
            yield

    @contextmanager
    def _held(self, shard: int) -> Iterator[None]:
        with files.locked_number(self.folder, shard, "shard") as held:
            if held:  # else nobody knows whose the half-written files are
                files.remove_partial(self.folder, f"{self._name(shard)}.*")
                files.remove_partial(self.parts, f"{shard:05d}.*")
                self._forget_altered(shard)
            yield

    def _forget_altered(self, shard: int) -> None:
        """Forget a finished shard whose bytes were altered or lost since it was written.

        Shards that became finished after this writer was opened are as they were written.
        """
        if shard not in self._unproved:
            return
        path = self.folder / self._name(shard)
        try:
            wanted = files.read_json(self._record(shard), _Record).shard.sha256
        except FreeBindError:
            if self.finished:  # by another process, which has removed the records
                return
            raise
        if not path.exists() or files.sha256_of(path, "a shard") != wanted:
            notice_once(f"{path}: altered since it was written; it is written again")
            self._record(shard).unlink(missing_ok=True)
        self._unproved.discard(shard)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process opens or closes this array."""
        with files.locked(self.folder, wait=True, name=".opening") as held:
            for name in (MANIFEST, PARTIAL) if held else ():
                files.remove_partial(self.folder, f"{name}.*")
            yield

    def _name(self, shard: int) -> str:
        return shard_name(shard)

    def write(self, shard: int, rows: Shaped[np.ndarray, "r d"], note: Any = None) -> None:
        """Write a shard in the array's dtype; ``note`` is kept for ``close``.

        Raises:
            FreeBindError: The rows have another shape than the shard, or the disk is full.
        """
        self._require_fit(shard, rows, least=len(self.rows_of(shard)))
        path = self.folder / self._name(shard)
        files.write_npy(path, np.asarray(rows, self.manifest.dtype))
        self._write_record(Shard(path.name, len(rows), files.sha256_of(path)), shard, note)
        begun.forget(self._begun(shard))

    def keep(self, shard: int, rows: Shaped[np.ndarray, "r d"], note: Any = None) -> None:
        """Keep the first rows that were computed of a shard, until ``write`` is called.

        Args:
            shard: Number of a shard that this process holds.
            rows: Rows in the order in which they are computed, in their own dtype. They take the
                place of those that were kept before.
            note: What else is needed to go on, as JSON types.

        Raises:
            FreeBindError: The rows do not fit the shard, or the disk is full.
        """
        self._require_fit(shard, rows)
        begun.keep(self._begun(shard), rows, note)

    def kept(self, shard: int) -> tuple[Shaped[np.ndarray, "r d"], Any] | None:
        """Return the rows and the note that were kept of a shard; None if there are none.

        Rows that were altered since are forgotten, with a notice.
        """
        return begun.kept(self._begun(shard), (len(self.rows_of(shard)), self.manifest.dim))

    def _require_fit(self, shard: int, rows: Shaped[np.ndarray, "r d"], least: int = 0) -> None:
        most, dim = len(self.rows_of(shard)), self.manifest.dim
        if rows.shape[1] != dim or not least <= len(rows) <= most:
            raise FreeBindError(
                "these rows do not fit the shard that is being written",
                where=self.folder,
                expected=(most, dim),
                got=rows.shape,
            )

    def _begun(self, shard: int) -> Path:
        return self.parts / f"{shard:05d}.begun.npy"

    def _write_record(self, shard: Shard, number: int, note: Any = None) -> None:
        files.write_json(self._record(number), {"shard": dataclasses.asdict(shard), "note": note})

    def rewind(self, shards: int) -> None:
        """Forget all shards but the first ones, and that the array is finished."""
        if self.finished:
            whole = Manifest.read(self.folder / MANIFEST)
            for number, shard in enumerate(whole.shards[:shards]):
                self._write_record(shard, number)
            files.write_json(self.folder / PARTIAL, self.manifest.to_json())
            (self.folder / MANIFEST).unlink()
        for number in self.shards[shards:]:
            self._record(number).unlink(missing_ok=True)
            begun.forget(self._begun(number))

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
