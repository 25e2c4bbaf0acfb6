"""What an actor of a Ray cluster does: the shards that it is given, as a local export does them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import explained
from encoders_torch.exporting.encoding import Encoding
from encoders_torch.exporting.job import Job
from encoders_torch.exporting.reading import ItemReader
from encoders_torch.exporting.report import ExportResult, Timings
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.exporting.work import Target
from encoders_torch.exporting.workplace import Load
from encoders_torch.sources import Source
from fb_jax.banks import ItemList, PartWriter
from fb_jax.banks.manifest import PARTIAL
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra

T = TypeVar("T")

ATTEMPTS = 4
"""Times that a shard is begun: Ray itself would go on for ever with one that kills its process."""


@dataclass(frozen=True)
class _Bank:
    """A ``Target`` without its encoder."""

    number: int
    writer: PartWriter
    first: int
    state: tuple[int, int] | None

    @classmethod
    def of(cls, target: Target) -> _Bank:
        return cls(target.number, target.writer, target.first, _state(target.writer))

    def opened(self, encoder: FrozenEncoder, modality: str) -> Target:
        """Return the target.

        Raises:
            FreeBindError: The bank is not here.
        """
        if not self.writer.finished and _state(self.writer) != self.state:
            raise FreeBindError(
                "this machine of the Ray cluster does not see the bank, or another one",
                where=self.writer.folder,
                fix="use a bank root on a disk that all machines have at the same path",
            )
        result = ExportResult(self.writer.folder)
        return Target(self.number, self.writer, self.first, Encoding(encoder, modality), result)


def _state(writer: PartWriter) -> tuple[int, int] | None:
    """Return what only the same file has on two machines."""
    try:
        stat = (writer.folder / PARTIAL).stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True)
class Plan:
    """A ``Job`` in a form that Ray can pickle."""

    loads: Sequence[Load]
    banks: Sequence[_Bank]
    modality: str
    items: Path
    source: Source
    settings: ExportSettings
    strict: bool
    folder: Path

    @classmethod
    def of(cls, job: Job, loads: Sequence[Load]) -> Plan:
        """Return the plan of a job whose encoders are loaded by these functions."""
        reader = job.reader
        return cls(
            loads,
            [_Bank.of(target) for target in job.targets],
            reader.modality,
            reader.items.path,
            replace(reader.source, items=()),
            job.settings,
            job.strict,
            Path.cwd(),
        )


class Attempts:
    """Counts how often a shard was begun; it is an actor of its own, which outlives the others."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def begin(self, shard: int) -> int:
        """Count a beginning; return how many there were."""
        self.counts[shard] += 1
        return self.counts[shard]


class ShardActor:
    """Encodes shards of a job in a process of the cluster."""

    def __init__(self, plan: Plan, attempts: Any) -> None:
        self.plan, self.attempts = plan, attempts

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Encode a shard, unless another process has it; return where time went, or an error."""
        shard = int(row["id"])
        timings = outcome(self.plan.folder, lambda: self._encode(shard))
        error, timings = (timings, Timings()) if isinstance(timings, str) else ("", timings)
        return {"shard": shard, "error": error, **asdict(timings)}

    def _encode(self, shard: int) -> Timings:
        if import_extra("ray", "ray").get(self.attempts.begin.remote(shard)) > ATTEMPTS:
            raise FreeBindError(
                f"the process that encoded shard {shard} died {ATTEMPTS} times",
                where=self.plan.banks[0].writer.folder,
                fix="look for the reason in Ray's logs; what is done is kept",
            )
        job = replace(self._job, timings=Timings())
        job.run([shard])
        return job.timings

    @cached_property
    def _job(self) -> Job:
        """The job as this process does it."""
        plan = self.plan
        encoders = [load() for load in plan.loads]
        for encoder in encoders:
            encoder.prepare(plan.modality)
        targets = [bank.opened(encoders[bank.number], plan.modality) for bank in plan.banks]
        items, most = ItemList(plan.items), plan.settings.batch_bytes
        reader = ItemReader(encoders, plan.modality, items, plan.source, most)
        return Job(reader, targets, plan.settings, plan.strict, lambda _rows, _timings: None)


def outcome(folder: Path, call: Callable[[], T]) -> T | str:
    """Return what a call in a folder returns, or the text of its error, without Ray's around it."""
    try:
        fix = "run the command in a folder that all machines of the cluster have"
        with explained("a machine of the Ray cluster lacks a folder", where=folder, fix=fix):
            os.chdir(folder)
        return call()
    except FreeBindError as error:
        return str(error)
