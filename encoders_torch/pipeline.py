"""Reader, encoder and writer of one bank: others read ahead and write while a batch is encoded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.reading import ItemReader, Read, read_ahead, reason
from encoders_torch.report import (
    REPORT,
    Export,
    Failure,
    Spent,
    read_failures,
    require_none,
    require_some,
    write_failures,
)
from encoders_torch.sources import Source, list_items
from fb_jax.banks import ItemList, PartWriter, Split, describe, files, unit_rows
from fb_jax.banks.bank import find_bad_rows
from fb_jax.errors import FreeBindError, require_positive

BATCHES_AHEAD = 4
HOPELESS = 8
"""A batch of so many items or more that fail one and all is not the items' fault."""

Tell = Callable[[int, Spent], None]
"""Told of items that were just done, and where time went so far."""


@dataclass(frozen=True)
class ExportSettings:
    """How to export; rows differ in the last bits between batch sizes.

    Attributes:
        dtype: How to store the rows.
        batch: Items encoded at a time.
        batch_mb: A batch is cut before ``batch`` once its items, as read, hold this much.
        workers: Processes that read; 0 reads between the batches.
        read_ahead_mb: Bound of what is read and not yet encoded, beside one batch.
        shard_rows: Rows of a shard, the unit of resuming and of sharing the work.
        shard_id: Which of ``num_shards`` processes, started by you, this one is.
        num_shards: Processes that write this bank together; each takes every so many-th shard.
    """

    dtype: Literal["float16", "float32"] = "float16"
    batch: int = 64
    batch_mb: int = 256
    workers: int = 2
    read_ahead_mb: int = 512
    shard_rows: int = 65536
    shard_id: int = 0
    num_shards: int = 1

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("batch", "batch_mb", "read_ahead_mb")}
        require_positive("export", shard_rows=self.shard_rows, num_shards=self.num_shards, **counts)
        if not 0 <= self.shard_id < self.num_shards:
            raise FreeBindError(
                "there is no such --shard-id",
                expected=f"0 to {self.num_shards - 1}, below --num-shards",
                got=self.shard_id,
            )

    def share(self, count: int) -> int:
        """Return how many of ``count`` rows are this process's."""
        starts = range(self.shard_id * self.shard_rows, count, self.num_shards * self.shard_rows)
        return sum(min(self.shard_rows, count - start) for start in starts)


def export_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    how: ExportSettings,
    *,
    strict: bool = False,
    progress: Tell = lambda _rows, _spent: None,
) -> Export:
    """Encode the items of one modality into a bank, but for shards that are finished.

    Args:
        encoder: What encodes.
        source: The items.
        split: Where the bank goes.
        space: Name of the space.
        modality: Name of the modality.
        how: Settings.
        strict: Raise at the first item that fails.
        progress: Told of items that are done.

    Returns:
        What came of it. After an interruption the same call ends in the same bytes.

    Raises:
        FreeBindError: The split holds other items or another bank under this name, another process
            writes the same shards, the encoder breaks its promises, every item fails, or (strict)
            one does.
    """
    items = list_items(split, modality, source)
    writer = _open_bank(encoder, items, split, space, modality, how)
    made = Export(writer.folder / REPORT)
    if not writer.finished:
        reader = ItemReader(encoder, modality, items, source.folder)
        _Job(reader, writer, how, strict, made, progress).run()
    else:
        progress(how.share(len(items)), made.spent)
    made.whole = writer.close(lambda notes: _sum_up(notes, len(items), made))
    made.failures = read_failures(made.report) if made.whole else _noted(writer)
    if strict:
        require_none(made.failures)
    return made


def _open_bank(
    encoder: FrozenEncoder,
    items: ItemList,
    split: Split,
    space: str,
    modality: str,
    how: ExportSettings,
) -> PartWriter:
    made_from = files.sha256_of_json([items.digest, how.batch, how.batch_mb])
    return PartWriter(
        split.bank_path(space, modality),
        dim=encoder.dim,
        count=len(items),
        dtype=how.dtype,
        about=describe(space, modality, items.digest, provenance(encoder), made_from),
        late=("missing",),
        shard_rows=how.shard_rows,
    )


def _sum_up(notes: Sequence[list[dict[str, Any]]], count: int, made: Export) -> dict[str, Any]:
    failures = [Failure(**failure) for note in notes for failure in note]
    require_some(count, failures, made.report.parent)
    write_failures(made.report, failures)
    return {"missing": [failure.row for failure in failures]}


def _noted(writer: PartWriter) -> list[Failure]:
    done = (shard for shard in writer.shards if writer.done(shard))
    return [Failure(**failure) for shard in done for failure in writer.note(shard)]


@dataclass(frozen=True)
class _Job:
    """This process's share of the shards of one bank."""

    reader: ItemReader
    writer: PartWriter
    how: ExportSettings
    strict: bool
    made: Export
    progress: Tell

    def run(self) -> None:
        """Encode the shards that are not done, each while the one before is written."""
        writer, how = self.writer, self.how
        mine = writer.shards[how.shard_id :: how.num_shards]
        with writer.claimed(mine), ThreadPoolExecutor(1) as thread:
            todo = [shard for shard in mine if not writer.done(shard)]
            done = sum(len(writer.rows_of(shard)) for shard in set(mine) - set(todo))
            self.progress(done, self.made.spent)
            pending: Future[None] | None = None
            with closing(self._read(todo)) as reads:
                for shard in todo:
                    found = self._encode(shard, islice(reads, len(writer.rows_of(shard))))
                    self._wait(pending)
                    pending = thread.submit(writer.write, shard, *found)
            self._wait(pending)

    def _read(self, shards: Sequence[int]) -> Generator[Read, None, None]:
        """Read the items of shards, and count the time that is waited for them."""
        with closing(
            read_ahead(
                self.reader,
                chain.from_iterable(map(self.writer.rows_of, shards)),
                workers=self.how.workers,
                most_items=BATCHES_AHEAD * self.how.batch,
                most_bytes=self.how.read_ahead_mb * 10**6,
            )
        ) as reads:
            yield from self.made.spent.waiting(reads)

    def _wait(self, pending: Future[None] | None) -> None:
        with self.made.spent.on("write"):
            if pending:
                pending.result()

    def _encode(
        self, shard: int, reads: Iterator[Read]
    ) -> tuple[Float[np.ndarray, "r d"], list[dict[str, Any]]]:
        """Return a shard's rows, and its failures as JSON."""
        rows, encoder = self.writer.rows_of(shard), self.reader.encoder
        block = np.zeros((len(rows), encoder.dim), self.how.dtype)
        failures: list[Failure] = []
        first = 0
        for batch in _batches(reads, self.how):
            with self.made.spent.on("encode"):
                encoded, bad = _encode(encoder, self.reader.modality, batch)
            block[first : first + len(batch)] = encoded
            failures += [self._failure(rows[first + i], bad[i]) for i in sorted(bad)]
            if self.strict:
                require_none(failures)
            first += len(batch)
            self.progress(len(batch), self.made.spent)
        return block, [asdict(failure) for failure in failures]

    def _failure(self, row: int, why: str) -> Failure:
        return Failure(row, self.reader.items[row]["id"], why)


def _batches(reads: Iterator[Read], how: ExportSettings) -> Iterator[list[Read]]:
    """Cut a shard's items into batches, by what the items are and nothing else."""
    batch: list[Read] = []
    size = 0
    for read in reads:
        batch.append(read)
        size += len(read.data)
        if len(batch) == how.batch or size >= how.batch_mb * 10**6:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode(
    encoder: FrozenEncoder, modality: str, reads: Sequence[Read]
) -> tuple[Float32[np.ndarray, "b d"], dict[int, str]]:
    """Encode what could be read; return unit rows, zero for what failed, and its reasons."""
    rows = np.zeros((len(reads), encoder.dim), np.float32)
    failed = {i: read.reason for i, read in enumerate(reads) if read.reason is not None}
    whole = [i for i in range(len(reads)) if i not in failed]
    try:
        if whole:
            rows[whole] = _require_rows(encoder, modality, [reads[i].item() for i in whole])
    except FreeBindError:
        raise
    except Exception as error:
        if len(reads) == 1:
            return rows, {0: reason(error)}
        _require_memory(error, len(whole))
        alone = [_encode(encoder, modality, [read]) for read in reads]  # to find the culprit
        _require_some_encoded(error, [why for _, why in alone])
        rows = np.concatenate([row for row, _ in alone])
        return rows, {i: why[0] for i, (_, why) in enumerate(alone) if why}
    bad = np.concatenate(list(find_bad_rows(rows).values())).tolist()
    rows[bad] = 0
    return unit_rows(rows), dict.fromkeys(bad, "its embedding has no direction") | failed


def _require_some_encoded(error: Exception, failed: Sequence[dict[int, str]]) -> None:
    """Tell a broken encoder, or device, from items that are."""
    if len(failed) >= HOPELESS and all(failed):
        raise FreeBindError(
            f"the encoder failed on every item of a batch of {len(failed)}",
            got=reason(error),
            fix="mend the encoder or its device, then run the same command again",
        ) from error


def _require_memory(error: Exception, count: int) -> None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        raise FreeBindError(
            f"a batch of {count} does not fit into memory",
            got=reason(error),
            fix="a smaller --batch; delete what is there of this bank, its batches were larger",
        ) from error


def _require_rows(
    encoder: FrozenEncoder, modality: str, batch: Sequence[Any]
) -> Float32[np.ndarray, "b d"]:
    found = np.asarray(encoder.encode(modality, batch), np.float32)
    if found.shape != (len(batch), encoder.dim):
        raise FreeBindError(
            "an encoder returned rows of another shape",
            where=encoder.name,
            expected=[len(batch), encoder.dim],
            got=list(found.shape),
        )
    return found
