"""What an export tells: the items that failed, and where the time went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import TypeVar

from fb_jax.banks import files
from fb_jax.errors import FreeBindError

T = TypeVar("T")
REPORT = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """An item that a bank lacks, and why."""

    row: int
    id: str
    reason: str


@dataclass
class Spent:
    """Seconds that the exporting process waited for readers, encoded, and waited for the writer."""

    read: float = 0.0
    encode: float = 0.0
    write: float = 0.0

    def __str__(self) -> str:
        whole = max(self.read + self.encode + self.write, 1e-9)
        return ", ".join(
            f"{name} {100 * took / whole:.0f} %" for name, took in asdict(self).items()
        )

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Count what is done inside."""
        began = monotonic()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + monotonic() - began)

    def waiting(self, source: Iterator[T]) -> Iterator[T]:
        """Count the time until each element is there as reading."""
        end = object()
        while True:
            with self.on("read"):
                found = next(source, end)
            if found is end:
                return
            yield found  # type: ignore[misc]


@dataclass
class Export:
    """What came of an export.

    Attributes:
        report: Where failures are listed once the bank is whole, if there are any.
        whole: Whether the bank is; other processes may still have shards to write.
        failures: Of all shards that are done.
        spent: Where time went.
    """

    report: Path
    whole: bool = False
    failures: list[Failure] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write one JSON object a line, if there are any."""
    lines = b"".join(files.canonical_json(asdict(failure)) + b"\n" for failure in failures)
    if lines:
        files.write_atomic(path, lambda file: file.write(lines))


def read_failures(path: Path) -> list[Failure]:
    """Return what ``write_failures`` wrote."""
    if not path.exists():
        return []
    return [Failure(**json.loads(line)) for line in path.read_bytes().splitlines()]


def require_none(failures: Iterable[Failure]) -> None:
    """Raise a FreeBindError that tells of the first failure, if there is one."""
    for failure in failures:
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
            fix="mend the cause, delete this folder, and run the same command again",
        )
