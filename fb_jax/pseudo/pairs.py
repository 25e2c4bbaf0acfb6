"""Pseudo pairs: built once for a unified and an expert space, read as one big table.

    FOLDER/pairs.json                                 what they are computed from, and how
    FOLDER/<start modality>/<side>_<modality>/        one sharded array for each soft embedding

Native embeddings are not copied: they are rows of the banks. D_T, D_V, D_A (the pairs that start
from text, image, audio) follow one another in the table, in the order of ``PairSpec.starts``.
Without a folder the soft embeddings stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from fb_jax import files
from fb_jax.banks import (
    Concatenated,
    MemoryArray,
    PartWriter,
    Progress,
    Rows,
    ShardedArray,
    ShardWriter,
    no_progress,
)
from fb_jax.errors import FreeBindError
from fb_jax.numerics import require_supported, single_precision
from fb_jax.pseudo.execute import BankStream, complete
from fb_jax.pseudo.plans import Column, Hop, Ref, columns, native
from fb_jax.pseudo.spec import PairSpec

CLAIM = "pairs.json"


class WritableArray(MemoryArray):
    """An ``[n, d]`` array in memory, written like one on disk."""

    def __init__(self, count: int, dim: int, dtype: str) -> None:
        super().__init__(np.empty((count, dim), dtype))
        self.rows_done = 0

    def append(self, rows: Shaped[np.ndarray, "r d"]) -> None:
        """Add rows after the last ones."""
        self._rows[self.rows_done : self.rows_done + len(rows)] = rows
        self.rows_done += len(rows)

    def rewind(self, rows: int) -> None:
        """Forget the rows from a number on."""
        self.rows_done = min(self.rows_done, rows)

    def close(self) -> None:
        """Do nothing: there is no manifest to write."""

    def verify(self, progress: Progress = no_progress) -> None:
        """Do nothing: no disk can have altered the rows."""


class PairSet:
    """Finished pseudo pairs, read as one table: an ``[n, d]`` row source for every column.

    Args:
        spec: What they were built from.
        arrays: (start, column) to the soft embeddings ``[count, d]``.
        folder: Where they are; None: in memory.
    """

    def __init__(
        self,
        spec: PairSpec,
        arrays: Mapping[tuple[str, Column], ShardedArray | WritableArray],
        folder: Path | None = None,
    ) -> None:
        self.spec, self.arrays, self.folder = spec, arrays, folder
        self.columns: Mapping[Column, Rows] = {
            column: Concatenated(
                [arrays.get((start, column), spec.bank(column)) for start in spec.starts],
                spec.dim(column),
                np.float32,
            )
            for column in columns(spec.plan)
        }

    @classmethod
    def open(cls, folder: Path | str, spec: PairSpec) -> PairSet:
        """Open the pairs of a folder.

        Raises:
            FreeBindError: They are unfinished, damaged, or were computed from something else.
        """
        folder = Path(folder)
        claim = files.require_claim(folder / CLAIM, spec.identity(), "pseudo pairs")
        remedy = f"delete {folder} and run the same command again: it builds the pairs anew"
        arrays = {
            (start, ref.column): ShardedArray(_array_folder(folder, start, ref), remedy)
            for start in spec.starts
            for ref in spec.outputs(start)
        }
        for array in arrays.values():
            if array.manifest.about.get("claim") != claim:
                raise FreeBindError(
                    "these pseudo pairs do not belong to their claim",
                    where=array.folder,
                    expected=f"pairs of {folder / CLAIM}",
                    fix=remedy,
                )
        return cls(spec, arrays, folder)

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else repr(str(self.folder))
        return f"PairSet({where}, {len(self)} rows from {', '.join(self.spec.starts)})"

    def __len__(self) -> int:
        return sum(map(len, self.spec.ranges.values()))

    def fingerprint(self) -> str:
        """Return a digest of the exact bytes of these pairs."""
        stored = {f"{key}": array.fingerprint for key, array in self.arrays.items()}
        return files.sha256_of_json([self.spec.identity(), stored])

    def verify(self, progress: Progress = no_progress) -> None:
        """Compare every stored byte with its digest; see ``ShardedArray.verify``."""
        for array in self.arrays.values():
            array.verify(progress)


def _array_folder(folder: Path, start: str, ref: Ref) -> Path:
    return folder / start / f"{ref.side}_{ref.modality}"


@single_precision()
def build_pairs(
    spec: PairSpec,
    folder: Path | str | None = None,
    *,
    resident_bytes: int = 4 << 30,
    progress: Progress = no_progress,
) -> PairSet:
    """Build pseudo pairs; continue if some are there, and only open them if all are.

    Args:
        spec: What to build.
        folder: Where to store them: an empty folder, or one with these pairs. None: in memory.
        resident_bytes: Banks of at most this size (bytes as float32) stay on the device; larger
            ones are streamed again for every block of queries.
        progress: Called with the number of items just completed.

    Returns:
        The finished pairs.

    Raises:
        FreeBindError: The folder holds other pairs, or the disk is full (finished parts are kept).
    """
    folder = None if folder is None else Path(folder)
    require_supported(spec.retrieval.precision)
    with ExitStack() as stack:
        claim = None
        if folder is not None:
            stack.enter_context(files.locked(folder))
            claim = files.claim(folder / CLAIM, spec.identity(), "pseudo pairs")
        writers = {
            start: {r: _writer(spec, folder, start, r, claim, stack) for r in spec.outputs(start)}
            for start in spec.starts
        }
        progress(sum(_done(own) for own in writers.values()))
        for start, own in writers.items():
            _build_start(spec, start, own, resident_bytes, progress)
    if folder is not None:
        return PairSet.open(folder, spec)
    arrays = {
        (start, ref.column): array
        for start, own in writers.items()
        for ref, array in own.items()
        if isinstance(array, WritableArray)
    }
    return PairSet(spec, arrays)


def _done(writers: Mapping[Ref, ShardWriter | WritableArray]) -> int:
    """Return the rows that all the arrays of a start have."""
    return min(writer.rows_done for writer in writers.values())


def _build_start(
    spec: PairSpec,
    start: str,
    writers: Mapping[Ref, ShardWriter | WritableArray],
    resident_bytes: int,
    progress: Progress,
) -> None:
    hops, chunks, done = spec.plan[start], spec.retrieval.chunks, _done(writers)
    for writer in writers.values():
        writer.rewind(done)
    stream = _stream(spec, hops, resident_bytes)
    own = native(spec.plan, start)
    for rows in _blocks(done, spec.count(start), chunks.queries):
        block = {ref: jnp.asarray(spec.bank(ref.column)[rows]) for ref in own}
        for ref, output in complete(hops, block, stream, spec.retrieval).items():
            writers[ref].append(np.asarray(output))
        progress(rows.stop - rows.start)
    for writer in writers.values():
        writer.close()


def _blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def _writer(
    spec: PairSpec,
    folder: Path | None,
    start: str,
    ref: Ref,
    claim: str | None,
    stack: ExitStack,
) -> ShardWriter | WritableArray:
    count, dim, dtype = spec.count(start), spec.dim(ref.column), spec.retrieval.dtype
    if folder is None:
        return WritableArray(count, dim, dtype)
    # A shard is a block of queries, so that a resumed run sees the same blocks: the same bytes.
    parts = PartWriter(
        _array_folder(folder, start, ref),
        dim=dim,
        count=count,
        dtype=dtype,
        about={"start": start, "embedding": str(ref), "claim": claim},
        shard_rows=spec.retrieval.chunks.queries,
    )
    stack.enter_context(parts.claimed(parts.shards))
    return ShardWriter(parts)


def _stream(spec: PairSpec, hops: tuple[Hop, ...], resident_bytes: int) -> BankStream:
    used = {ref.column for hop in hops for ref in (hop.keys, hop.values)}
    banks = {column: spec.bank(column) for column in used}
    size = sum(4 * len(bank) * bank.shape[1] for bank in banks.values())
    return BankStream(banks, block_rows=spec.retrieval.chunks.keys, resident=size <= resident_bytes)
