"""Tries the items again that a finished bank lacks; the other rows stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from jaxtyping import Float32, Integer

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.ahead import read_ahead
from encoders_torch.exporting.encoding import Encoding
from encoders_torch.exporting.reading import ItemReader, Task
from encoders_torch.exporting.report import (
    REPORT,
    ExportResult,
    Failure,
    read_failures,
    write_failures,
)
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.sources import Source
from fb_jax.banks import Split, fill_rows, open_bank

Rows = Integer[np.ndarray, " r"]


def retry_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
    progress: Callable[[int], None] = lambda _rows: None,
) -> ExportResult:
    """Fill in the missing rows of a finished bank, a shard at a time.

    Args:
        encoder: The encoder of the bank.
        source: Where the content of its items is.
        split: Split of the bank.
        space: Name of its space.
        modality: Name of its modality.
        settings: Batches and workers.
        progress: Takes the number of items just tried.

    Returns:
        The failures that are left.

    Raises:
        FreeBindError: There is no such bank; or see ``export_banks``.
    """
    bank, items = open_bank(split, space, modality), split.items(modality)
    result = ExportResult(split.bank_path(space, modality) / REPORT, complete=True)
    reader = ItemReader([encoder], modality, items, source, settings.batch_bytes)
    encoding = Encoding(encoder, modality)
    failures = {failure.row: failure for failure in read_failures(result.report)}
    try:
        for rows in _by_shard(np.setdiff1d(bank.missing, items.removed), settings.shard_rows):
            encoded, failed = _encode(rows, encoding, reader, settings, progress)
            result.done += len(rows)
            there = np.isin(rows, list(failed), invert=True)
            bank = fill_rows(bank, rows[there], encoded[there])
            failures |= failed
    finally:
        left = set(bank.missing.tolist())
        result.failures = [failures[row] for row in sorted(failures) if row in left]
        write_failures(result.report, result.failures)
    return result


def _by_shard(rows: Rows, size: int) -> list[Integer[np.ndarray, " _"]]:
    return np.split(rows, np.flatnonzero(np.diff(rows // size)) + 1) if len(rows) else []


def _encode(
    rows: Rows,
    encoding: Encoding,
    reader: ItemReader,
    settings: ExportSettings,
    progress: Callable[[int], None],
) -> tuple[Float32[np.ndarray, "r d"], dict[int, Failure]]:
    """Return the rows of items, zero for those that fail, and the failures by row."""
    encoded = np.zeros((len(rows), encoding.encoder.dim), np.float32)
    failures: dict[int, Failure] = {}
    starts = iter(range(0, len(rows), settings.batch))
    tasks = _tasks(rows, settings.batch)
    with closing(read_ahead(reader, tasks, settings.ahead([encoding.encoder]))) as found:
        for first, (reads,) in zip(starts, found, strict=True):
            here = slice(first, first + settings.batch)
            encoded[here], failed = encoding.encode_reads(reads, len(rows[here]))
            for i, reason in failed.items():
                row = int(rows[first + i])
                failures[row] = Failure(row, reader.items[row]["id"], reason)
            progress(len(rows[here]))
    return encoded, failures


def _tasks(rows: Rows, batch: int) -> Iterator[Task]:
    return (Task(rows[i : i + batch].tolist()) for i in range(0, len(rows), batch))
