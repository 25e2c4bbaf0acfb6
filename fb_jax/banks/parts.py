"""One sharded array written a shard at a time, in any order, by any number of processes.

A finished shard has a record, ``parts/00003.json``, beside its ``emb_00003.npy``. Whoever finds all
records there writes the manifest; until then ``partial.json`` says whose array it will be.
"""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Shaped

from fb_jax.banks import files
from fb_jax.banks.shards import (
    MANIFEST,
    PARTIAL,
    SHARD_ROWS,
    Shard,
    new_manifest,
    pick_up,
    write_shard,
)
from fb_jax.errors import FreeBindError


class PartWriter:
    """Writes shards of one array; opened again (same arguments) it knows those that are finished.

    Args:
        folder: Where the array goes.
        dim: Its columns.
        count: Its rows, known from the start.
        dtype: "float16" or "float32".
        about: What the rows mean; part of the array's identity.
        late: Names of what ``close`` adds to ``about``, known only then; not part of it.
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
        with self._alone():
            if pick_up(folder, self.manifest, late) is None:
                files.write_json(folder / PARTIAL, self.manifest.to_json())

    @property
    def finished(self) -> bool:
        """Whether the array is whole, manifest and all."""
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
        """Return what ``write`` was told of a finished shard of an unfinished array."""
        return files.read_json(self._record(shard))["note"]

    def _record(self, shard: int) -> Path:
        return self.parts / f"{shard:05d}.json"

    @contextmanager
    def claimed(self, shards: Iterable[int]) -> Iterator[None]:
        """Hold shards for this process; a killed process lets go by itself.

        Raises:
            FreeBindError: Another process holds one of them.
        """
        with self._open(".claims") as file:
            for shard in shards:  # byte i stands for shard i
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
                except (BlockingIOError, PermissionError) as error:
                    raise FreeBindError(
                        "another process is writing here",
                        where=self.folder,
                        got=f"shard {shard} is taken",
                        fix="wait until it is done, or give each process a --shard-id of its own",
                    ) from error
            yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process opens or closes this array."""
        with self._open(".lock") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def _open(self, name: str) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / name).open("a")
        except OSError as error:
            raise FreeBindError(
                "no permission to write here", where=self.folder, got=error
            ) from error

    def write(self, shard: int, rows: Shaped[np.ndarray, "r d"], note: Any = None) -> None:
        """Write one shard, in the array's dtype; ``note`` is kept for ``close``.

        Raises:
            FreeBindError: The rows are not as many or as wide as they should be, or the disk is
                full.
        """
        expected = (len(self.rows_of(shard)), self.manifest.dim)
        if rows.shape != expected:
            raise FreeBindError(
                "these rows do not fit the shard that is being written",
                where=self.folder,
                expected=expected,
                got=rows.shape,
            )
        done = write_shard(self.folder, shard, np.asarray(rows, self.manifest.dtype))
        files.write_json(self._record(shard), {"shard": dataclasses.asdict(done), "note": note})

    def close(self, sum_up: Callable[[list[Any]], dict[str, Any]]) -> bool:
        """Write the manifest if all shards are there.

        Args:
            sum_up: Called with every shard's note, in order, while no other process closes this
                array; returns what ``about`` lacked.

        Returns:
            Whether the array is whole now.
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
        records = [files.read_json(self._record(shard)) for shard in self.shards]
        about = self.manifest.about | files.json_types(sum_up([r["note"] for r in records]))
        shards = tuple(Shard(**record["shard"]) for record in records)
        whole = dataclasses.replace(self.manifest, about=about, shards=shards)
        files.write_json(self.folder / MANIFEST, whole.to_json())
