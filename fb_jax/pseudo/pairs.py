"""Pseudo pairs on disk: built once for a unified and an expert space, read as one big table.

    FOLDER/pairs.json                                 what they were made from, and how
    FOLDER/<start modality>/<side>_<modality>/        one sharded array a soft embedding

Native embeddings are not copied: they are rows of the banks. D_T, D_V, D_A (the items that
started from text, image, audio) stand behind one another, in the order of ``PairSet.starts``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from fb_jax.banks import (
    BankSet,
    Concatenated,
    Progress,
    Rows,
    ShardedArray,
    ShardWriter,
    files,
    no_progress,
)
from fb_jax.errors import FreeBindError
from fb_jax.pseudo.execute import BankStream, Retrieval, complete
from fb_jax.pseudo.plans import (
    Column,
    Hop,
    Plan,
    Ref,
    Side,
    anchor_of,
    columns,
    in_order,
    native,
    plan_for,
    shared_scores,
)

CLAIM = "pairs.json"


@dataclass(frozen=True)
class PairSpec:
    """Everything that pseudo pairs are made from: the same spec gives the same bytes.

    Attributes:
        banks: Both spaces over the pool.
        unified: Name of the unified space.
        expert: Name of the expert space.
        retrieval: How soft retrieval is done.

    Raises:
        FreeBindError: Both spaces are one.
    """

    banks: BankSet
    unified: str
    expert: str
    retrieval: Retrieval = field(default_factory=Retrieval)

    def __post_init__(self) -> None:
        if self.unified == self.expert:
            raise FreeBindError(
                "a space cannot be its own expert", expected="two spaces", got=self.unified
            )

    @property
    def anchor(self) -> str:
        """The modality that the plan holds the unified space to be trained around."""
        return self.retrieval.anchor or anchor_of(self.banks.modalities(self.unified))

    @property
    def plan(self) -> Plan:
        """The hops of every start modality."""
        unified, expert = map(self.banks.modalities, (self.unified, self.expert))
        return plan_for(unified, expert, self.anchor)

    @property
    def starts(self) -> tuple[str, ...]:
        """The start modalities, in the order of the pairs."""
        return in_order(self.plan)

    def count(self, start: str) -> int:
        """Return how many pairs start from a modality: its items that all spaces have."""
        return len(self.banks.rows[start])

    @property
    def ranges(self) -> dict[str, range]:
        """Start modality to the rows of its pairs in the table of all pairs."""
        ends = list(accumulate(self.count(start) for start in self.starts))
        return {
            start: range(end - self.count(start), end)
            for start, end in zip(self.starts, ends, strict=True)
        }

    def bank(self, column: Column) -> Rows:
        """Return the bank behind a (side, modality)."""
        side, modality = column
        return self.banks[self.unified if side == "unified" else self.expert, modality]

    def dim(self, column: Column) -> int:
        """Return the dimension of a (side, modality)."""
        return self.bank(column).shape[1]

    def modalities(self, side: Side) -> tuple[str, ...]:
        """Return the modalities that every pair has on a side."""
        return tuple(modality for owner, modality in columns(self.plan) if owner == side)

    def outputs(self, start: str) -> list[Ref]:
        """Return the soft embeddings that complete an item of a start modality."""
        return [hop.output for hop in self.plan[start]]

    def identity(self) -> dict[str, Any]:
        """Return what tells these pairs from others, as JSON."""
        retrieval = dataclasses.asdict(self.retrieval)
        del retrieval["anchor"]  # the plan is what comes of it
        return {
            "format": "freebind-pairs",
            "version": 1,
            "unified": self.unified,
            "expert": self.expert,
            "retrieval": retrieval,
            "plan": {start: [str(hop) for hop in self.plan[start]] for start in self.starts},
            "banks": self.banks.fingerprints(),
            "pairs": {start: self.count(start) for start in self.starts},
        }

    def stored_bytes(self) -> int:
        """Return the bytes of the soft embeddings on disk."""
        dims = {
            start: sum(self.dim(ref.column) for ref in self.outputs(start)) for start in self.starts
        }
        item = np.dtype(self.retrieval.dtype).itemsize
        return item * sum(self.count(start) * dim for start, dim in dims.items())

    def table_bytes(self) -> int:
        """Return the bytes of all columns of the pairs as float32."""
        dims = sum(self.dim(column) for column in columns(self.plan))
        return 4 * dims * sum(map(len, self.ranges.values()))

    def operations(self) -> int:
        """Return the floating-point operations of the matrix products of building them."""
        total = 0
        for start in self.starts:
            for (_, keys), group in shared_scores(self.plan[start]).items():
                dims = self.dim(keys.column) + sum(self.dim(hop.values.column) for hop in group)
                total += 2 * self.count(start) * len(self.bank(keys.column)) * dims
        return total


class PairSet:
    """Finished pseudo pairs, read as one table: a ``[n, d]`` source of rows for every column.

    Args:
        folder: Where they are.
        spec: What they were built from.

    Raises:
        FreeBindError: They are unfinished, damaged, or were made from something else.
    """

    def __init__(self, folder: Path, spec: PairSpec) -> None:
        files.require_claim(folder / CLAIM, spec.identity(), "pseudo pairs")
        self.folder = folder
        self.spec = spec
        remedy = f"delete {folder} and run the same command again: it builds the pairs anew"
        self.arrays = {
            (start, ref.column): ShardedArray(_array_folder(folder, start, ref), remedy)
            for start in spec.starts
            for ref in spec.outputs(start)
        }
        self.columns: Mapping[Column, Rows] = {
            column: Concatenated(
                [self.arrays.get((start, column), spec.bank(column)) for start in spec.starts],
                spec.dim(column),
                np.float32,
            )
            for column in columns(spec.plan)
        }

    def __len__(self) -> int:
        return sum(map(len, self.spec.ranges.values()))

    def fingerprint(self) -> str:
        """Return a digest that names the exact bytes of these pairs."""
        stored = {f"{key}": array.manifest.fingerprint for key, array in self.arrays.items()}
        return files.sha256_of_json([self.spec.identity(), stored])

    def verify(self, progress: Progress = no_progress) -> None:
        """Compare every stored byte with its digest; see ``ShardedArray.verify``."""
        for array in self.arrays.values():
            array.verify(progress)


def _array_folder(folder: Path, start: str, ref: Ref) -> Path:
    return folder / start / f"{ref.side}_{ref.modality}"


def build_pairs(
    spec: PairSpec,
    folder: Path,
    *,
    resident_bytes: int = 4 << 30,
    progress: Progress = no_progress,
) -> PairSet:
    """Build pseudo pairs, or go on building them, or just open them if they are finished.

    Args:
        spec: What to build.
        folder: Where to; holds these pairs or nothing.
        resident_bytes: Banks of up to so many bytes are kept on the device, larger ones streamed
            again for every block of queries.
        progress: Told of items that were completed.

    Returns:
        The finished pairs.

    Raises:
        FreeBindError: The folder holds other pairs, or the disk is full: what is finished is kept.
    """
    with files.locked(folder):
        files.claim(folder / CLAIM, spec.identity(), "pseudo pairs")
        for start in spec.starts:
            _build_start(spec, folder, start, resident_bytes, progress)
    return PairSet(folder, spec)


def _build_start(
    spec: PairSpec, folder: Path, start: str, resident_bytes: int, progress: Progress
) -> None:
    hops, chunks = spec.plan[start], spec.retrieval.chunks
    writers = {ref: _writer(spec, folder, start, ref) for ref in spec.outputs(start)}
    done = min(writer.rows_done for writer in writers.values())
    progress(done)
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


def _writer(spec: PairSpec, folder: Path, start: str, ref: Ref) -> ShardWriter:
    # A shard is a block of queries: a resumed run then sees the same blocks, hence the same bytes.
    return ShardWriter(
        _array_folder(folder, start, ref),
        dim=spec.dim(ref.column),
        count=spec.count(start),
        dtype=spec.retrieval.dtype,
        about={
            "start": start,
            "embedding": str(ref),
            "unified": spec.unified,
            "expert": spec.expert,
        },
        shard_rows=spec.retrieval.chunks.queries,
    )


def _stream(spec: PairSpec, hops: tuple[Hop, ...], resident_bytes: int) -> BankStream:
    used = {ref.column for hop in hops for ref in (hop.keys, hop.values)}
    banks = {column: spec.bank(column) for column in used}
    size = sum(4 * len(bank) * bank.shape[1] for bank in banks.values())
    return BankStream(banks, block_rows=spec.retrieval.chunks.keys, resident=size <= resident_bytes)
