"""A shard that is being encoded for one or several banks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.encoding import Encoding
from encoders_torch.exporting.reading import Reads, Task
from encoders_torch.exporting.report import ExportResult, Failure, as_failures
from fb_jax.banks import ItemList, PartWriter


@dataclass
class Target:
    """A bank that is written.

    Attributes:
        number: Of its encoder among those that share a read.
        writer: Writes its shards.
        first: Row of the item list that is the writer's first.
        encoding: Encodes its batches.
        result: What came of it.
    """

    number: int
    writer: PartWriter
    first: int
    encoding: Encoding
    result: ExportResult

    @property
    def encoder(self) -> FrozenEncoder:
        """The encoder of the bank."""
        return self.encoding.encoder


@dataclass
class _Block:
    """The rows of a shard for one bank, and the items that failed so far."""

    target: Target
    rows: np.ndarray
    failures: list[Failure] = field(default_factory=list)

    @property
    def note(self) -> list[dict[str, Any]]:
        """The failures as JSON, in the order of the items."""
        return [asdict(failure) for failure in sorted(self.failures, key=lambda f: f.row)]


class ShardWork:
    """Encodes the rows of a shard, in an order that depends on nothing but the items.

    Args:
        shard: Number of the shard.
        rows: Its rows in the item list.
        order: Positions in ``rows``, in the order of encoding.
        targets: The banks that need the shard.
        dtype: Of the banks.

    Attributes:
        claims: Is closed when the shard is written, or given up.
    """

    def __init__(
        self,
        shard: int,
        rows: range,
        order: Int[np.ndarray, " n"],
        targets: Sequence[Target],
        dtype: str,
    ) -> None:
        self.shard, self.rows, self.order, self.claims = shard, rows, order, ExitStack()
        self.blocks = [
            _Block(target, np.zeros((len(rows), target.encoder.dim), dtype)) for target in targets
        ]
        self.done = min([self._kept(block) for block in self.blocks])
        here = {rows[i] for i in order[: self.done]}
        for block in self.blocks:  # one may have kept more than another
            block.failures = [failure for failure in block.failures if failure.row in here]
        self.saved = self.done
        self.since = time.monotonic()

    def _kept(self, block: _Block) -> int:
        """Take over what an earlier process encoded; return how many rows that are."""
        if (kept := block.target.writer.kept(self.shard)) is None:
            return 0
        rows, note = kept
        block.rows[self.order[: len(rows)]] = rows
        block.failures = as_failures(note, block.target.writer.folder)
        return len(rows)

    @property
    def complete(self) -> bool:
        """Whether every row was encoded."""
        return self.done == len(self.order)

    def tasks(self, batch: int) -> Iterator[Task]:
        """Yield what is to be read, a batch at a time."""
        encoders = [block.target.number for block in self.blocks]
        for start in range(self.done, len(self.order), batch):
            yield Task([self.rows[i] for i in self.order[start : start + batch]], encoders)

    def take(self, reads: Sequence[Reads], items: ItemList) -> tuple[int, list[Failure]]:
        """Encode what was read of the next task; return how many items, and which failed."""
        here, failures = self.order[self.done :][: reads[0].items], []
        for block, found in zip(self.blocks, reads, strict=True):
            block.rows[here], failed = block.target.encoding.encode_reads(found, len(here))
            rows = {i: self.rows[here[i]] for i in sorted(failed)}
            new = [Failure(row, items[row]["id"], failed[i]) for i, row in rows.items()]
            block.failures += new
            block.target.result.done += len(here)
            failures += new
        self.done += len(here)
        return len(here), failures

    def keep(self) -> None:
        """Keep what is done, so that a process that begins again need not do it again."""
        if self.saved == self.done:
            return
        for block in self.blocks:
            done = block.rows[self.order[: self.done]]
            block.target.writer.keep(self.shard, done, block.note)
        self.saved, self.since = self.done, time.monotonic()

    def write(self) -> None:
        """Write the shard of every bank, and give back the claims."""
        with self.claims:
            for block in self.blocks:
                block.target.writer.write(self.shard, block.rows, block.note)


def by_length(captions: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Return the order in which captions of like length are neighbours: batches pad less."""
    return np.argsort([len(caption) for caption in captions], kind="stable")
