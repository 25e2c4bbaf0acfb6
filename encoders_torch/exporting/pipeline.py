"""Writes one bank: workers read ahead, and a thread writes, while a batch is encoded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import Float

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.encoding import encode_batch
from encoders_torch.exporting.reading import ItemReader, Read, read_ahead
from encoders_torch.exporting.report import (
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
from encoders_torch.exporting.target import ExportSettings, Part, open_part
from encoders_torch.sources import Source, list_items
from fb_jax.banks import PartWriter, ShardedArray, Split, settle
from fb_jax.errors import FreeBindError

BATCHES_AHEAD = 4

Progress = Callable[[int, Timings], None]
"""Takes the number of items just done, and the time of each phase so far."""


def export_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
    *,
    strict: bool = False,
    append: bool = False,
    progress: Progress = lambda _rows, _timings: None,
) -> ExportResult:
    """Encode the items of one modality into a bank. Shards that are finished are kept.

    If the bank is finished and the item list has grown since, only the new items are encoded.

    Args:
        encoder: Encodes the items.
        source: The items.
        split: The bank is written there.
        space: Name of the space.
        modality: Name of the modality.
        settings: Batches, workers and shards.
        strict: Raise at the first item that fails.
        append: Add new items of the source to the item list; see ``list_items``.
        progress: Called after every batch.

    Returns:
        Failures and timings. After an interruption the same call ends in the same bytes.

    Raises:
        FreeBindError: The split has other items or another bank of this name, another process
            writes the same shards, the encoder returns wrong rows, every item fails, or (strict)
            one does.
    """
    items = list_items(split, modality, source, append=append)
    part = open_part(encoder, items, split, space, modality, settings)
    result, writer = ExportResult(part.folder / REPORT), part.writer
    if not writer.finished:
        reader = ItemReader(encoder, modality, items, source)
        _Job(reader, writer, part.first, settings, strict, result, progress).run()
    else:
        ShardedArray(writer.folder).verify()
        progress(settings.share(writer.manifest.count), result.timings)
    writer.close(lambda notes: _sum_up(notes, part, result))
    settle(part.folder)
    result.complete = part.is_there()
    if result.complete and part.stop < len(items):  # it was begun before the list grew
        return export_bank(
            encoder, source, split, space, modality, settings, strict=strict, progress=progress
        )
    done = read_failures(result.report) if result.complete else _failures_so_far(writer, result)
    result.failures = done
    if strict:
        require_none(result.failures)
    return result


def _sum_up(notes: Sequence[Any], part: Part, result: ExportResult) -> dict[str, Any]:
    failures = [failure for note in notes for failure in as_failures(note, result.report.parent)]
    require_some(part.writer.manifest.count, failures, result.report.parent)
    before = [f for f in read_failures(result.report) if f.row < part.first]
    write_failures(result.report, [*before, *failures])
    return {"missing": [failure.row for failure in failures]}


def _failures_so_far(writer: PartWriter, result: ExportResult) -> list[Failure]:
    done = (shard for shard in writer.shards if writer.done(shard))
    try:
        return [f for shard in done for f in as_failures(writer.note(shard), writer.folder)]
    except FreeBindError:
        if not writer.finished:  # by another process, which has removed the notes
            raise
        return read_failures(result.report)


@dataclass(frozen=True)
class _Job:
    """This process's share of the shards of one bank."""

    reader: ItemReader
    writer: PartWriter
    first: int
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
                chain.from_iterable(map(self._rows, shards)),
                workers=self.settings.workers,
                most_items=BATCHES_AHEAD * self.settings.batch,
                most_bytes=self.settings.read_ahead_mb * 10**6,
            )
        ) as reads:
            yield from self.result.timings.waiting(reads)

    def _rows(self, shard: int) -> range:
        """Return the items of a shard, as rows of the item list."""
        rows = self.writer.rows_of(shard)
        return range(self.first + rows.start, self.first + rows.stop)

    def _wait(self, pending: Future[None] | None) -> None:
        with self.result.timings.measure("write"):
            if pending:
                pending.result()

    def _encode(
        self, shard: int, reads: Iterator[Read]
    ) -> tuple[Float[np.ndarray, "r d"], list[dict[str, Any]]]:
        """Return a shard's rows, and its failures as JSON."""
        rows, encoder = self._rows(shard), self.reader.encoder
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
