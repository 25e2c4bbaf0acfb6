"""Reader, encoder and writer of one bank: workers read ahead while a batch is encoded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from torch.utils.data import DataLoader, Dataset

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.sources import Source
from fb_jax.banks import (
    Progress,
    ShardWriter,
    Split,
    bank_writer,
    files,
    no_progress,
    unit_rows,
    write_items,
)
from fb_jax.banks.bank import find_bad_rows
from fb_jax.errors import FreeBindError

REPORT = "failures.jsonl"


@dataclass(frozen=True)
class ExportSettings:
    """How to export; rows differ in the last bits between batch sizes.

    Attributes:
        dtype: How to store the rows.
        batch: Items encoded at a time.
        workers: Processes that read; 0 reads between the batches.
        shard_rows: Rows of a shard, the unit of resuming.
    """

    dtype: Literal["float16", "float32"] = "float16"
    batch: int = 64
    workers: int = 2
    shard_rows: int = 65536


@dataclass(frozen=True)
class Failure:
    """An item that a bank lacks, and why."""

    row: int
    id: str
    reason: str


@dataclass
class Spent:
    """Seconds that the exporting process waited for readers, encoded, and wrote."""

    read: float = 0.0
    encode: float = 0.0
    write: float = 0.0

    def __str__(self) -> str:
        whole = max(self.read + self.encode + self.write, 1e-9)
        shares = [f"{name} {100 * spent / whole:.0f} %" for name, spent in asdict(self).items()]
        return f"time: {', '.join(shares)}"


@dataclass
class Export:
    """What came of an export: its report, the items that failed, where time went."""

    report: Path
    failures: list[Failure] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)


def export_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    how: ExportSettings,
    *,
    strict: bool = False,
    progress: Progress = no_progress,
) -> Export:
    """Encode the items of one modality into a bank, or go on behind its last finished shard.

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
        FreeBindError: The split holds other items or another bank under this name, the encoder
            breaks its promises, every item fails, or (strict) one does.
    """
    items = write_items(split.items_path(modality), source.items)
    writer = bank_writer(
        split.bank_path(space, modality),
        dim=encoder.dim,
        count=len(source),
        dtype=how.dtype,
        space=space,
        modality=modality,
        items_sha256=items.digest,
        encoder=provenance(encoder),
        missing=None,
        made_from=files.sha256_of_json([items.digest, how.batch]),
        shard_rows=how.shard_rows,
    )
    made = Export(writer.folder / REPORT)
    made.failures = [f for f in _read_report(made.report) if f.row < writer.rows_done]
    progress(writer.rows_done)
    batches = _batches(writer.rows_done, len(source), how)
    for rows, read in _timed(_read_ahead(encoder, source, modality, batches, how.workers), made):
        began = time.monotonic()
        encoded, failures = _encode(encoder, modality, read)
        made.spent.encode += time.monotonic() - began
        found = [Failure(rows[i], source.items[rows[i]]["id"], why) for i, why in failures.items()]
        _require_none(found, strict)
        made.failures += found
        began = time.monotonic()
        if rows.stop % how.shard_rows == 0 or rows.stop == len(source):
            _write_report(made)  # before its shard, so that no finished shard has unknown failures
        writer.append(encoded)
        made.spent.write += time.monotonic() - began
        progress(len(rows))
    _close(writer, made, len(source))
    return made


def _batches(first: int, count: int, how: ExportSettings) -> list[range]:
    """Cut the rows from ``first`` into batches; none crosses the end of a shard."""
    ends = sorted({count, *range(how.shard_rows, count, how.shard_rows)})
    starts = [0, *ends[:-1]]
    batches = [
        range(row, min(row + how.batch, end))
        for start, end in zip(starts, ends, strict=True)
        for row in range(start, end, how.batch)
    ]
    return [batch for batch in batches if batch.start >= first]


class _Batches(Dataset[tuple[range, list[Any]]]):
    """What a DataLoader's workers read: element i is batch i, failed items in it ``_Failed``."""

    def __init__(
        self, encoder: FrozenEncoder, source: Source, modality: str, batches: Sequence[range]
    ) -> None:
        self.encoder, self.source, self.modality = encoder, source, modality
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[range, list[Any]]:
        rows = self.batches[number]
        return rows, [self._read(row) for row in rows]

    def _read(self, row: int) -> Any:
        try:
            return self.encoder.read(self.modality, self.source[row])
        except Exception as error:  # one bad file must not lose a run
            return _Failed(_reason(error))


@dataclass(frozen=True)
class _Failed:
    reason: str


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, FreeBindError) else f"{type(error).__name__}: {text}"


def _read_ahead(
    encoder: FrozenEncoder, source: Source, modality: str, batches: Sequence[range], workers: int
) -> Iterator[tuple[range, list[Any]]]:
    loader = DataLoader(
        _Batches(encoder, source, modality, batches),
        batch_size=None,
        num_workers=min(workers, len(batches)),
        collate_fn=_unchanged,
    )
    return iter(loader)


def _unchanged(batch: Any) -> Any:
    return batch


def _timed(batches: Iterator[Any], made: Export) -> Iterator[Any]:
    while True:
        began = time.monotonic()
        batch = next(batches, None)
        made.spent.read += time.monotonic() - began
        if batch is None:
            return
        yield batch


def _encode(
    encoder: FrozenEncoder, modality: str, read: Sequence[Any]
) -> tuple[Float32[np.ndarray, "b d"], dict[int, str]]:
    """Encode what could be read; return unit rows, zero for what failed, and its reasons."""
    rows = np.zeros((len(read), encoder.dim), np.float32)
    failed = {i: item.reason for i, item in enumerate(read) if isinstance(item, _Failed)}
    whole = [i for i in range(len(read)) if i not in failed]
    try:
        if whole:
            rows[whole] = _require_rows(encoder, modality, [read[i] for i in whole])
    except FreeBindError:
        raise
    except Exception as error:
        if len(read) == 1:
            return rows, {0: _reason(error)}
        alone = [_encode(encoder, modality, [item]) for item in read]  # to find the culprit
        rows = np.concatenate([row for row, _ in alone])
        return rows, {i: why[0] for i, (_, why) in enumerate(alone) if why}
    bad = np.concatenate(list(find_bad_rows(rows).values())).tolist()
    rows[bad] = 0
    return unit_rows(rows), dict.fromkeys(bad, "its embedding has no direction") | failed


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


def _require_none(failures: Sequence[Failure], strict: bool) -> None:
    if failures and strict:
        raise FreeBindError(
            "an item failed",
            where=failures[0].id,
            got=failures[0].reason,
            fix="without --strict, items that fail are left out and listed",
        )


def _write_report(made: Export) -> None:
    lines = b"".join(files.canonical_json(asdict(f)) + b"\n" for f in made.failures)
    if lines or made.report.exists():
        files.write_atomic(made.report, lambda file: file.write(lines))


def _read_report(path: Path) -> list[Failure]:
    if not path.exists():
        return []
    return [Failure(**json.loads(line)) for line in path.read_bytes().splitlines()]


def _close(writer: ShardWriter, made: Export, count: int) -> None:
    if len(made.failures) == count:
        raise FreeBindError(
            "every item failed",
            where=made.report,
            got=made.failures[0].reason,
            fix="see the report",
        )
    writer.close(missing=sorted(failure.row for failure in made.failures))
