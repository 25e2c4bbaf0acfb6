"""Writes one bank: workers read ahead, and a thread writes, while a batch is encoded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.encoding import encode_batch
from encoders_torch.reading import ItemReader, Read, read_ahead
from encoders_torch.report import (
    REPORT,
    ExportResult,
    Failure,
    Timings,
    as_failures,
    read_failures,
    require_none,
    require_some,
    write_failures,
)
from encoders_torch.sources import Source, list_items
from fb_jax import files
from fb_jax.banks import BankAbout, ItemList, PartWriter, ShardedArray, Split
from fb_jax.errors import FreeBindError, require_range

BATCHES_AHEAD = 4

Progress = Callable[[int, Timings], None]
"""Takes the number of items just done, and the time of each phase so far."""


@dataclass(frozen=True)
class ExportSettings:
    """Rows differ in their last bits between batch sizes.

    Attributes:
        dtype: Number format of the stored rows.
        batch: Items encoded together, 1 to 65536.
        batch_mb: A batch also ends when its items, as read, take this many megabytes, 1 to 1048576.
        workers: Processes that read, 0 to 1024. 0 reads between the batches.
        read_ahead_mb: At most this many megabytes are read ahead, beside one batch, 1 to 1048576.
        shard_rows: Rows in a shard, 1 to 16777216. Finished shards are kept when an export is
            stopped.
        shard_id: Number of this process, from 0 to --num-shards - 1.
        num_shards: Number of processes that you start to write this bank together, 1 to 100000.
            Each takes every num-shards-th shard.
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
        require_range("export", 1, 1 << 16, batch=self.batch)
        sizes = {"batch_mb": self.batch_mb, "read_ahead_mb": self.read_ahead_mb}
        require_range("export", 1, 1 << 20, **sizes)
        require_range("export", 0, 1024, workers=self.workers)
        require_range("export", 1, 1 << 24, shard_rows=self.shard_rows)
        require_range("export", 1, 100_000, num_shards=self.num_shards)
        require_range("export", 0, self.num_shards - 1, shard_id=self.shard_id)

    def share(self, count: int) -> int:
        """Return how many of ``count`` rows this process encodes."""
        starts = range(self.shard_id * self.shard_rows, count, self.num_shards * self.shard_rows)
        return sum(min(self.shard_rows, count - start) for start in starts)


def export_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
    *,
    strict: bool = False,
    progress: Progress = lambda _rows, _timings: None,
) -> ExportResult:
    """Encode the items of one modality into a bank. Shards that are finished are kept.

    Args:
        encoder: Encodes the items.
        source: The items.
        split: The bank is written there.
        space: Name of the space.
        modality: Name of the modality.
        settings: Batches, workers and shards.
        strict: Raise at the first item that fails.
        progress: Called after every batch.

    Returns:
        Failures and timings. After an interruption the same call ends in the same bytes.

    Raises:
        FreeBindError: The split has other items or another bank of this name, another process
            writes the same shards, the encoder returns wrong rows, every item fails, or (strict)
            one does.
    """
    items = list_items(split, modality, source)
    writer = _open_bank(encoder, items, split, space, modality, settings)
    result = ExportResult(writer.folder / REPORT)
    if not writer.finished:
        reader = ItemReader(encoder, modality, items, source.folder)
        _Job(reader, writer, settings, strict, result, progress).run()
    else:
        ShardedArray(writer.folder).verify()
        progress(settings.share(len(items)), result.timings)
    result.complete = writer.close(lambda notes: _sum_up(notes, len(items), result))
    result.failures = read_failures(result.report) if result.complete else _failures_so_far(writer)
    if strict:
        require_none(result.failures)
    return result


def _open_bank(
    encoder: FrozenEncoder,
    items: ItemList,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
) -> PartWriter:
    inputs = files.sha256_of_json([items.digest, settings.batch, settings.batch_mb])
    about = BankAbout(space, modality, provenance(encoder), items.digest, made_from=inputs)
    return PartWriter(
        split.bank_path(space, modality),
        dim=encoder.dim,
        count=len(items),
        dtype=settings.dtype,
        about=about.to_json(),
        late=("missing",),
        shard_rows=settings.shard_rows,
    )


def _sum_up(notes: Sequence[Any], count: int, result: ExportResult) -> dict[str, Any]:
    failures = [failure for note in notes for failure in as_failures(note, result.report.parent)]
    require_some(count, failures, result.report.parent)
    write_failures(result.report, failures)
    return {"missing": [failure.row for failure in failures]}


def _failures_so_far(writer: PartWriter) -> list[Failure]:
    done = (shard for shard in writer.shards if writer.done(shard))
    try:
        return [f for shard in done for f in as_failures(writer.note(shard), writer.folder)]
    except FreeBindError:
        if not writer.finished:  # by another process, which has removed the notes
            raise
        return read_failures(writer.folder / REPORT)


@dataclass(frozen=True)
class _Job:
    """This process's share of the shards of one bank."""

    reader: ItemReader
    writer: PartWriter
    settings: ExportSettings
    strict: bool
    result: ExportResult
    progress: Progress

    def run(self) -> None:
        """Encode the shards that are not done, each while the one before is written."""
        writer, settings = self.writer, self.settings
        mine = writer.shards[settings.shard_id :: settings.num_shards]
        with writer.claimed(mine), ThreadPoolExecutor(1) as thread:
            todo = [shard for shard in mine if not writer.done(shard)]
            done = sum(len(writer.rows_of(shard)) for shard in set(mine) - set(todo))
            self.progress(done, self.result.timings)
            pending: Future[None] | None = None
            with closing(self._read(todo)) as reads:
                for shard in todo:
                    content = self._encode(shard, islice(reads, len(writer.rows_of(shard))))
                    self._wait(pending)
                    pending = thread.submit(writer.write, shard, *content)
            self._wait(pending)

    def _read(self, shards: Sequence[int]) -> Generator[Read, None, None]:
        """Read the items of shards, and measure how long this process waits for them."""
        with closing(
            read_ahead(
                self.reader,
                chain.from_iterable(map(self.writer.rows_of, shards)),
                workers=self.settings.workers,
                most_items=BATCHES_AHEAD * self.settings.batch,
                most_bytes=self.settings.read_ahead_mb * 10**6,
            )
        ) as reads:
            yield from self.result.timings.waiting(reads)

    def _wait(self, pending: Future[None] | None) -> None:
        with self.result.timings.measure("write"):
            if pending:
                pending.result()

    def _encode(
        self, shard: int, reads: Iterator[Read]
    ) -> tuple[Float[np.ndarray, "r d"], list[dict[str, Any]]]:
        """Return a shard's rows, and its failures as JSON."""
        rows, encoder = self.writer.rows_of(shard), self.reader.encoder
        block = np.zeros((len(rows), encoder.dim), self.settings.dtype)
        failures: list[Failure] = []
        first = 0
        for batch in _batches(reads, self.settings):
            with self.result.timings.measure("encode"):
                encoded, bad = encode_batch(encoder, self.reader.modality, batch)
            block[first : first + len(batch)] = encoded
            failures += [self._failure(rows[first + i], bad[i]) for i in sorted(bad)]
            if self.strict:
                require_none(failures)
            first += len(batch)
            self.progress(len(batch), self.result.timings)
        return block, [asdict(failure) for failure in failures]

    def _failure(self, row: int, reason: str) -> Failure:
        return Failure(row, self.reader.items[row]["id"], reason)


def _batches(reads: Iterator[Read], settings: ExportSettings) -> Iterator[list[Read]]:
    """Cut a shard's items into batches, which depend on nothing but the items and the settings."""
    batch: list[Read] = []
    size = 0
    for read in reads:
        batch.append(read)
        size += len(read.data)
        if len(batch) == settings.batch or size >= settings.batch_mb * 10**6:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
