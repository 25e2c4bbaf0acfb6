"""Encodes shards for several banks: workers read ahead, and a thread writes, meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from encoders_torch.exporting.ahead import read_ahead
from encoders_torch.exporting.reading import ItemReader, Reads, Task
from encoders_torch.exporting.report import FailureRate, Timings, require_none
from encoders_torch.exporting.target import ExportSettings
from encoders_torch.exporting.work import ShardWork, Target, by_length

Progress = Callable[[int, Timings], None]
"""Takes the number of items just done, and the time of each phase so far."""


@dataclass
class Job:
    """This process's shards of banks whose shards hold the same items.

    Any number of processes may do the same job: each takes the next shard that no other has.

    Attributes:
        reader: Reads the items.
        targets: The banks.
        settings: Batches, workers and shards.
        strict: Whether the first item that fails ends the job.
        progress: Called after every batch.
    """

    reader: ItemReader
    targets: Sequence[Target]
    settings: ExportSettings
    strict: bool
    progress: Progress
    timings: Timings = field(default_factory=Timings)
    rate: FailureRate = field(default_factory=FailureRate)
    _open: deque[ShardWork] = field(default_factory=deque, init=False)
    _writing: Future[None] | None = field(default=None, init=False)

    @property
    def shards(self) -> range:
        """Numbers of this process's shards."""
        every = self.targets[0].writer.shards
        return every[self.settings.shard_id :: self.settings.num_shards]

    def left(self) -> list[int]:
        """Return the shards that are not written yet."""
        return [s for s in self.shards if not all(t.writer.done(s) for t in self.targets)]

    def size(self, shard: int) -> int:
        """Return how many rows a shard has."""
        return len(self.targets[0].writer.rows_of(shard))

    def run(self, shards: Iterable[int] | None = None) -> None:
        """Encode shards that are left; whatever ends this early, what is done is kept.

        Args:
            shards: Their numbers; all of this process's if not given.
        """
        todo = self.shards if shards is None else shards
        for target in self.targets:
            target.result.timings = self.timings
        ahead = self.settings.ahead([target.encoder for target in self.targets])
        with ThreadPoolExecutor(1) as thread:
            try:
                with closing(read_ahead(self.reader, self._tasks(todo), ahead)) as reads:
                    for found in self.timings.waiting(reads):
                        self._write_complete(thread)
                        self._take(found)
                self._write_complete(thread)
                self._wait()
            except BaseException:
                self._give_up()
                raise

    def _tasks(self, shards: Iterable[int]) -> Iterator[Task]:
        """Yield what is to be read; a shard is claimed when its first task is asked for."""
        for shard in shards:
            if (work := self._claimed(shard)) is not None:
                self._open.append(work)
                yield from work.tasks(self.settings.batch)

    def _claimed(self, shard: int) -> ShardWork | None:
        """Return a shard that this process has claimed for the banks that lack it."""
        one = self.targets[0]
        here = one.writer.rows_of(shard)
        rows = range(one.first + here.start, one.first + here.stop)
        with ExitStack() as stack:  # gives the claims back if anything fails
            mine = [t for t in self.targets if stack.enter_context(t.writer.taken(shard))]
            if not mine:
                self.progress(len(rows), self.timings)
                return None
            work = ShardWork(shard, rows, self._order(rows), mine, self.settings.dtype)
            self.progress(work.done, self.timings)
            work.claims = stack.pop_all()
        return work

    def _order(self, rows: range) -> Int[np.ndarray, " n"]:
        if self.reader.source.folder is not None:
            return np.arange(len(rows))
        return by_length([self.reader.items[row].get("caption") or "" for row in rows])

    def _take(self, found: Sequence[Reads]) -> None:
        work = self._open[0]
        with self.timings.measure("encode"):
            count, failures = work.take(found, self.reader.items)
        if self.strict:
            require_none(failures)
        self.rate.add(count, failures)
        self.progress(count, self.timings)
        if time.monotonic() - work.since > 60 * self.settings.keep_minutes:
            work.keep()

    def _write_complete(self, thread: ThreadPoolExecutor) -> None:
        """Hand the shards that are complete to the thread that writes, one at a time."""
        while self._open and self._open[0].complete:
            self._wait()
            self._writing = thread.submit(self._open.popleft().write)

    def _wait(self) -> None:
        with self.timings.measure("write"):
            if self._writing:
                self._writing.result()

    def _give_up(self) -> None:
        """Keep what is done of the shards that are open, and give back their claims."""
        while self._open:
            work = self._open.popleft()
            with work.claims, suppress(Exception):  # the user sees the error that ended the job
                work.keep()
