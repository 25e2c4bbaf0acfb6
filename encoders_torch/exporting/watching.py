"""Watches the processes that read: what each reads, for how long, and how much is read ahead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple

NOTHING = -1
PID, ROW, SINCE = range(3)
PAUSE = 0.005
"""Seconds between two looks whether there is room to read ahead."""


class Watch:
    """Is told what is being read. This one takes no notice."""

    def begin(self, task: int) -> None:
        """Begin a task, the number of which is counted from the start of the workers."""

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """Note that a row is being read."""
        yield

    def holds(self, size: int) -> None:
        """Note that a task holds this many bytes more."""


class Died(NamedTuple):
    """A reading process that died, the row that it was reading, or -1, and for how many seconds."""

    pid: int
    row: int
    seconds: float


class WorkerWatch(Watch):
    """Workers tell it what they do through shared memory.

    A worker that takes too long for a row is ended by an alarm of the operating system, which comes
    even if a library holds Python's lock.

    Args:
        workers: How many there are.
        seconds: The longest that the reading of a row may take.
        most_bytes: Tasks that are read and wait may hold this much, beside the next one.
    """

    def __init__(self, workers: int, seconds: float, most_bytes: int) -> None:
        self.seconds, self.most_bytes = seconds, most_bytes
        self.states = [RawArray("d", [NOTHING] * 3) for _ in range(workers)]
        self.held, self.given = RawArray("q", workers), RawArray("q", workers)
        self.taken, self.over = RawValue("q", 0), RawValue("b", 0)
        self.parent = os.getpid()
        self.worker, self.task, self.size = 0, 0, 0

    def start(self, worker: int) -> None:
        """Begin work in a worker process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the exporting process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.worker = worker
        self.states[worker][PID] = os.getpid()

    def begin(self, task: int) -> None:
        """See ``Watch``."""
        self.task, self.size = task, 0

    @property
    def waiting(self) -> int:
        """Bytes that were read and not taken over; each number has one process that changes it."""
        return sum(self.held) - sum(self.given)

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """Wait until there is room; then note the row, and set the alarm."""
        self._end_if_over()
        while self.task > self.taken.value and self.waiting > self.most_bytes:
            time.sleep(PAUSE)
            self._end_if_over()
        state = self.states[self.worker]
        state[SINCE], state[ROW] = time.monotonic(), row
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        state[ROW] = NOTHING  # it stays after an error that ends the process, such as a panic

    def _end_if_over(self) -> None:
        """End a worker that nobody waits for: the exporting process said so, or was killed."""
        if self.over.value or os.getppid() != self.parent:
            os._exit(0)

    def holds(self, size: int) -> None:
        """See ``Watch``."""
        self.size += size
        self.held[self.worker] += size

    def take(self, worker: int, size: int) -> None:
        """Note in the exporting process that a task of a worker was taken over."""
        self.taken.value += 1
        self.given[worker] += size

    def end(self) -> None:
        """Tell the workers, in the exporting process, that nothing more is needed."""
        self.over.value = 1

    def dead(self) -> list[Died]:
        """Return the workers that died."""
        alive = {process.pid for process in multiprocessing.active_children()}
        now = time.monotonic()
        return [
            Died(int(pid), int(row), now - since)
            for pid, row, since in self.states
            if pid != NOTHING and pid not in alive
        ]
