"""Reads items for encoders: one read of an item serves several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import in_one_line
from encoders_torch.exporting.batches import bytes_of, groups
from encoders_torch.exporting.memory import is_out_of_memory
from encoders_torch.exporting.report import REMOVED
from encoders_torch.exporting.watching import Watch
from encoders_torch.media import Media
from encoders_torch.sources import Source
from fb_jax.banks import ItemList
from fb_jax.errors import FreeBindError


class Task(NamedTuple):
    """Rows of an item list to read together, and the encoders that need them, as numbers."""

    rows: Sequence[int]
    encoders: Sequence[int] = (0,)


class Chunk(NamedTuple):
    """A batch from ``FrozenEncoder.collate``, and where its items are in their task."""

    at: list[int]
    batch: Any


class Reads(NamedTuple):
    """What was read of a task for one encoder: batches, and why items are in none of them."""

    chunks: list[Chunk]
    failed: dict[int, str]

    @property
    def items(self) -> int:
        """How many items the task had."""
        return len(self.failed) + sum(len(chunk.at) for chunk in self.chunks)


@dataclass
class ItemReader:
    """Reads rows of an item list, whose content is in a source.

    Attributes:
        encoders: They prepare the items.
        modality: Of the items.
        items: The item list.
        source: Where the content of an item is.
        batch_bytes: A batch ends when its items take this much.
        lost: Rows that are not read again, because their reader died; and why.
    """

    encoders: Sequence[FrozenEncoder]
    modality: str
    items: ItemList
    source: Source
    batch_bytes: int = 1 << 28
    lost: dict[int, str] = field(default_factory=dict)

    def read(self, task: Task, watch: Watch) -> list[Reads]:
        """Return what was read of a task, for each of its encoders.

        Args:
            task: What to read.
            watch: Learns which row is being read.
        """
        rows = [self._row(row, task.encoders, watch) for row in task.rows]
        return [
            self._reads(self.encoders[number], [row[i] for row in rows])
            for i, number in enumerate(task.encoders)
        ]

    @cached_property
    def _removed(self) -> frozenset[int]:
        return frozenset(self.items.removed.tolist())

    def _row(self, row: int, encoders: Sequence[int], watch: Watch) -> list[Read]:
        with watch.reading(row):
            try:
                read = self._read(row, encoders)
            except MemoryError as error:
                raise MemoryError(f"item {self.items[row]['id']}: {error}") from error
        watch.holds(sum(one.size for one in read))
        return read

    def _read(self, row: int, encoders: Sequence[int]) -> list[Read]:
        try:
            content = self._content(row)
        except Exception as error:
            return [Read(reason=_reason(error))] * len(encoders)
        return [read_item(self.encoders[e], self.modality, content) for e in encoders]

    def _content(self, row: int) -> str | Media:
        """Return what is to be read; raise why there is nothing."""
        if row in self._removed:
            raise FreeBindError(REMOVED)
        if row in self.lost:
            raise FreeBindError(self.lost[row])
        return self.source.content(self.items[row])

    def _reads(self, encoder: FrozenEncoder, read: list[Read]) -> Reads:
        found = Reads([], {i: one.reason for i, one in enumerate(read) if one.reason is not None})
        at = [i for i in range(len(read)) if i not in found.failed]
        for group in groups([read[i].size for i in at], self.batch_bytes):
            self._collate(encoder, at[group], read, found)
        return found

    def _collate(
        self, encoder: FrozenEncoder, at: list[int], read: list[Read], found: Reads
    ) -> None:
        """Add a batch; where items do not fit together, several."""
        try:
            batch = encoder.collate(self.modality, [read[i].value for i in at])
            found.chunks.append(Chunk(at, batch))
        except Exception as error:
            reason = _reason(error)
            if len(at) == 1:
                found.failed[at[0]] = reason
                return
            for half in (at[: len(at) // 2], at[len(at) // 2 :]):
                self._collate(encoder, half, read, found)


class Read(NamedTuple):
    """What an encoder's ``read`` returned, with its size in bytes; or why there is nothing."""

    value: Any = None
    size: int = 0
    reason: str | None = None


def read_item(encoder: FrozenEncoder, modality: str, content: str | Path | Media) -> Read:
    """Read a caption or a media item. Any error becomes a reason: one bad file ends no run."""
    try:
        if isinstance(content, Media) and (kind := content.special()):
            return Read(reason=f"no file, but {kind}")  # an own reader might wait for ever
        value = encoder.read(modality, content)
        return Read(value, bytes_of(value))
    except Exception as error:
        return Read(reason=_reason(error))


def _reason(error: Exception) -> str:
    """Return why an item cannot be used; raise a MemoryError, which is not its fault."""
    if is_out_of_memory(error):
        raise MemoryError(in_one_line(error)) from error
    return in_one_line(error)
