"""The result of an export: items that failed, and the time of each phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once

T = TypeVar("T")
REPORT = "failures.jsonl"
REMOVED = "it was removed from the split"


@dataclass(frozen=True)
class Failure:
    """An item that a bank lacks, and the reason."""

    row: int
    id: str
    reason: str


@dataclass
class Timings:
    """Seconds that the exporting process waited for readers, encoded, and waited for the writer."""

    read: float = 0.0
    encode: float = 0.0
    write: float = 0.0

    def __str__(self) -> str:
        total = max(self.read + self.encode + self.write, 1e-9)
        shares = ((name, 100 * seconds / total) for name, seconds in asdict(self).items())
        return ", ".join(f"{name} {share:.0f} %" for name, share in shares)

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add the time of the block to a phase."""
        began = monotonic()
        try:
            yield
        finally:
            setattr(self, phase, getattr(self, phase) + monotonic() - began)

    def waiting(self, source: Iterator[T]) -> Iterator[T]:
        """Pass elements on, and add the time until each one is there to ``read``."""
        while True:
            with self.measure("read"):
                element = next(source, None)
            if element is None:
                return
            yield element


@dataclass
class FailureRate:
    """Says how many items fail, now and then.

    Attributes:
        seconds: Between two looks.
        share: Of the items since the last look; below it, nothing is said.
    """

    seconds: float = 60.0
    share: float = 0.1
    done: int = 0
    failed: int = 0
    since: float = field(default_factory=monotonic)

    def add(self, count: int, failures: Sequence[Failure]) -> None:
        """Count items and failures; tell them if it is time."""
        self.done += count
        self.failed += len({failure.row for failure in failures})  # for several encoders
        if monotonic() - self.since < self.seconds:
            return
        if failures and self.failed > self.share * self.done:
            last = f"the last one {failures[-1].id}: {failures[-1].reason}"
            notice_once(f"{self.failed} of the last {self.done} items failed, {last}")
        self.done, self.failed, self.since = 0, 0, monotonic()


@dataclass
class ExportResult:
    """The result of an export.

    Attributes:
        report: File that lists the failures, once the bank is complete and if there are any.
        complete: Whether all shards are written; other processes may still have some to write.
        failures: Of all shards that are written.
        done: How many items this process has done, those that failed among them.
        timings: Where time went.
    """

    report: Path
    complete: bool = False
    failures: list[Failure] = field(default_factory=list)
    done: int = 0
    timings: Timings = field(default_factory=Timings)

    def kinds(self) -> dict[str, list[Failure]]:
        """Return the failures by what is wrong, without names; the most frequent first."""
        found: dict[str, list[Failure]] = {}
        for failure in self.failures:
            found.setdefault(failure.reason.split(" where: ")[0], []).append(failure)
        return dict(sorted(found.items(), key=lambda kind: -len(kind[1])))


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write one JSON object a line; no file if there are none."""
    lines = b"".join(files.canonical_json(asdict(failure)) + b"\n" for failure in failures)
    if lines:
        files.write_atomic(path, lambda file: file.write(lines))
    else:
        path.unlink(missing_ok=True)


def read_failures(path: Path) -> list[Failure]:
    """Return the failures of a report; none if there is no report.

    Raises:
        FreeBindError: It cannot be read, or was altered.
    """
    return list(files.read_jsonl(path, Failure)) if path.exists() else []


def as_failures(note: Any, where: Path) -> list[Failure]:
    """Return the failures of a shard, from the note that its writer kept.

    Raises:
        FreeBindError: The note was altered.
    """
    failures: list[Failure] = files.convert(note, list[Failure], where)
    return failures


def require_none(failures: Iterable[Failure]) -> None:
    """Raise a FreeBindError about the first failure, if there is one; removed items are none."""
    for failure in failures:
        if failure.reason == REMOVED:
            continue
        raise FreeBindError(
            "an item failed",
            where=failure.id,
            got=failure.reason,
            fix="without --strict, items that fail are left out and listed",
        )


def require_some(count: int, failures: Sequence[Failure], folder: Path) -> None:
    """Raise a FreeBindError if all of ``count`` items failed."""
    if len(failures) == count:
        raise FreeBindError(
            "every item failed",
            where=folder,
            got=failures[0].reason,
            fix="fix the cause, delete this folder, and run the same command again; if you mend "
            f"the list that you gave, delete items/{folder.name}.jsonl of this split, too, unless "
            "another bank or a pair table uses it",
        )
