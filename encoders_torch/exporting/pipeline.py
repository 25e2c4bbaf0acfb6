"""Encodes the items of one modality into the banks of several spaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from encoders_torch.encoder import FrozenEncoder, provenance
from encoders_torch.exporting.encoding import Encoding
from encoders_torch.exporting.job import Job, Progress
from encoders_torch.exporting.reading import ItemReader
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
from encoders_torch.exporting.work import Target
from encoders_torch.sources import Source, list_items
from fb_jax.banks import PartWriter, ShardedArray, Split, settle
from fb_jax.errors import FreeBindError


def export_bank(
    encoder: FrozenEncoder,
    source: Source,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
    **options: Any,
) -> ExportResult:
    """Encode the items of one modality into one bank; see ``export_banks``."""
    return export_banks({space: encoder}, source, split, modality, settings, **options)[space]


def export_banks(
    encoders: Mapping[str, FrozenEncoder],
    source: Source,
    split: Split,
    modality: str,
    settings: ExportSettings,
    *,
    licence: str | None = None,
    strict: bool = False,
    append: bool = False,
    progress: Progress = lambda _rows, _timings: None,
    run: Callable[[Job], None] = Job.run,
) -> dict[str, ExportResult]:
    """Encode the items of one modality into a bank of each space. What is done is kept.

    An item is read once for all encoders. If a bank is finished and the item list has grown since,
    only the new items are encoded.

    Args:
        encoders: Space to the encoder of its bank.
        source: The items.
        split: The banks are written there.
        modality: Name of the modality.
        settings: Batches, workers and shards.
        licence: Licence of the weights, if the encoder does not know it.
        strict: Raise at the first item that fails.
        append: Add new items of the source to the item list; see ``list_items``.
        progress: Called after every batch.
        run: Does a job; ``on_ray.Cluster.run`` does it on other machines.

    Returns:
        Space to failures and timings. After an interruption the same call ends in the same bytes.

    Raises:
        FreeBindError: The split has other items or another bank of this name, an encoder or its
            device fails, every item of a new bank fails, or (strict) one does.
    """
    items = list_items(split, modality, source, append=append)
    how = source.how(modality)
    parts = {
        space: open_part(
            provenance(e, licence, how), e.dim, items, split, space, modality, settings
        )
        for space, e in encoders.items()
    }
    results = {space: ExportResult(part.folder / REPORT) for space, part in parts.items()}
    targets = _targets(encoders, modality, parts, results)
    here = min((target.first for target in targets), default=len(items))
    progress(settings.share(here), Timings())
    reader = ItemReader(list(encoders.values()), modality, items, source, settings.batch_bytes)
    for alike in _alike(targets):
        run(Job(reader, alike, settings, strict, progress))
    late = [s for s in encoders if _finish(parts[s], results[s], len(items))]
    if late:
        rest = {space: encoders[space] for space in late}
        more: dict[str, Any] = {"licence": licence, "progress": progress, "run": run}
        results |= export_banks(rest, source, split, modality, settings, **more)
    if strict:
        for result in results.values():
            require_none(result.failures)
    return results


def _targets(
    encoders: Mapping[str, FrozenEncoder],
    modality: str,
    parts: Mapping[str, Part],
    results: Mapping[str, ExportResult],
) -> list[Target]:
    """Return the banks that are not finished; those that are are verified."""
    targets = []
    for number, (space, part) in enumerate(parts.items()):
        if part.writer is None:
            ShardedArray(part.folder).verify()
        else:
            encoding = Encoding(encoders[space], modality)
            targets.append(Target(number, part.writer, part.first, encoding, results[space]))
    return targets


def _alike(targets: Iterable[Target]) -> list[list[Target]]:
    """Group banks by what is to be written: their shards must hold the same items."""
    groups: dict[tuple[int, int, int], list[Target]] = defaultdict(list)
    for target in targets:
        form = target.writer.manifest
        groups[target.first, form.count, form.shard_rows].append(target)
    return list(groups.values())


def _finish(part: Part, result: ExportResult, count: int) -> bool:
    """Complete a bank if all its shards are there.

    Returns:
        Whether it was begun before the list grew, so that new items are left to encode.
    """
    writer = part.writer
    if writer is not None:
        writer.close(lambda notes: _sum_up(notes, writer.manifest.count, part, result))
        settle(part.folder)
    result.complete = part.is_there()
    if writer is None or result.complete:
        result.failures = read_failures(result.report)
    else:
        result.failures = _failures_so_far(writer, result)
    return result.complete and part.stop < count


def _sum_up(notes: Sequence[Any], count: int, part: Part, result: ExportResult) -> dict[str, Any]:
    failures = [failure for note in notes for failure in as_failures(note, result.report.parent)]
    if not part.first:  # what a bank has already stays, whether new items fail or not
        require_some(count, failures, result.report.parent)
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
