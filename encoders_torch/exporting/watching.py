"""Watches the processes that read: what each reads, for how long, and how much is read ahead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import NamedTuple

NOTHING = -1
PID, ROW = range(2)
PAUSE = 0.005
"""Seconds between two looks whether there is room to read ahead."""


class Watch:
    """Learns what is being read. This one takes no notice."""

    def begin(self, task: int) -> None:
        """Begin a task, the number of which is counted from the start of the workers."""

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """Note that a row is being read."""
        yield

    def holds(self, size: int) -> None:
        """Note that a task holds this many bytes more."""


class Died(NamedTuple):
    """The row that a process was reading when it died, or -1; and its exit code."""

    row: int
    code: int

    @property
    def hung(self) -> bool:
        """Whether the alarm ended it."""
        return self.code == -signal.SIGALRM

    def __str__(self) -> str:
        if self.code < 0:
            return f"was ended by {signal.Signals(-self.code).name}"
        return f"ended with status {self.code}"


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
        self.states = [RawArray("q", [NOTHING] * 2) for _ in range(workers)]
        self.processes: list[BaseProcess] = []
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

    def started(self) -> None:
        """Note in the exporting process which workers there are."""
        self.processes = multiprocessing.active_children()

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
        state[ROW] = row
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
        codes = {process.pid: process.exitcode for process in self.processes}
        ended = [(row, codes.get(pid)) for pid, row in self.states]
        return [Died(row, code) for row, code in ended if code is not None]
