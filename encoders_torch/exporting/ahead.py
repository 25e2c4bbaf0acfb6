"""Worker processes read tasks ahead of the encoders, in order, through torch's ``DataLoader``."""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from encoders_torch.exporting.memory import is_out_of_memory, too_little_memory
from encoders_torch.exporting.parcels import Parcel
from encoders_torch.exporting.reading import ItemReader, Reads, Task
from encoders_torch.exporting.watching import NOTHING, Died, Watch, WorkerWatch
from fb_jax.errors import FreeBindError

FORKS = (".*fork", ".*worker processes in total")
"""Warnings: a worker uses neither torch's threads nor JAX; and how many there are is the user's."""

LAST_GASP = 0.2
"""Seconds until a worker that failed has ended."""

CAPTION_SECONDS = 0.25
"""Captions are read in this process for this long before workers are started."""


@dataclass(frozen=True)
class Ahead:
    """How items are read ahead.

    Attributes:
        workers: Processes that read. 0 reads each task when it is asked for.
        tasks: Tasks that each of them may have in hand.
        most_bytes: Most bytes that are read and wait, beside the next task.
        seconds: An item that takes longer is given up; not without workers.
        pin: Whether batches are put where a GPU reads them faster.
    """

    workers: int = 2
    tasks: int = 2
    most_bytes: int = 1 << 29
    seconds: float = 300.0
    pin: bool = False


def read_ahead(
    reader: ItemReader, tasks: Iterable[Task], how: Ahead
) -> Generator[list[Reads], None, None]:
    """Read tasks in order, in worker processes that continue while the caller is busy.

    Captions are cheap, so workers are started only if there are many. Media always go to workers:
    decoders may crash, and their rounding depends on the number of threads. An item whose reader
    takes too long or dies, on the second attempt too, becomes one that failed.

    Yields:
        What was read of a task, for each of its encoders.

    Raises:
        FreeBindError: A worker died between two items, or there is too little memory.
    """
    tasks = iter(tasks)
    if not how.workers or reader.source.folder is None:
        yield from _read_here(reader, tasks, CAPTION_SECONDS if how.workers else math.inf)
    pending: deque[Task] = deque()
    deaths: Counter[int] = Counter()
    while (first := next(chain(pending, tasks), None)) is not None:
        begun = [first, *list(pending)[1:]]
        pending = deque()
        watch = WorkerWatch(how.workers, how.seconds, how.most_bytes)
        try:
            with closing(
                _loaded(reader, watch, _noted(chain(begun, tasks), pending), how)
            ) as found:
                for reads in found:
                    pending.popleft()
                    yield reads
            return
        except _WorkerDied as error:
            _blame(reader, error, deaths, how)


def _read_here(reader: ItemReader, tasks: Iterator[Task], seconds: float) -> Iterator[list[Reads]]:
    """Read tasks in this process, until reading has taken this long."""
    elapsed = 0.0
    while elapsed < seconds and (task := next(tasks, None)) is not None:
        began = time.perf_counter()
        reads = reader.read(task, Watch())
        elapsed += time.perf_counter() - began
        yield reads


def _noted(tasks: Iterable[Task], pending: deque[Task]) -> Iterator[tuple[int, Task]]:
    """Number tasks, and note those that are handed out."""
    for number, task in enumerate(tasks):
        pending.append(task)
        yield number, task


class _WorkerDied(Exception):
    """Worker processes died."""

    def __init__(self, dead: list[Died]) -> None:
        super().__init__(dead)
        self.dead = dead


class _Done(NamedTuple):
    """A task that a worker read, and how many bytes it holds."""

    worker: int
    size: int
    reads: list[Reads]


class _Worker(Dataset):
    """What runs in a worker process."""

    def __init__(self, reader: ItemReader, watch: WorkerWatch) -> None:
        self.reader, self.watch = reader, watch

    def __getitem__(self, numbered: tuple[int, Task]) -> Parcel:
        number, task = numbered
        self.watch.begin(number)
        reads = self.reader.read(task, self.watch)
        info = get_worker_info()
        assert info is not None
        return Parcel(_Done(info.id, self.watch.size, reads))


def _loaded(
    reader: ItemReader, watch: WorkerWatch, tasks: Iterator[tuple[int, Task]], how: Ahead
) -> Generator[list[Reads], None, None]:
    """Fork workers, which share the encoders' weights, and pass on what they read."""
    loader = _started(_Worker(reader, watch), tasks, how, watch)
    try:
        while (done := _next(loader, watch)) is not None:
            watch.take(done.worker, done.size)
            yield done.reads
    finally:
        watch.end()
        loader._shutdown_workers()  # otherwise it happens when Python collects garbage


def _next(loader: Iterator[Any], watch: WorkerWatch) -> _Done | None:
    try:
        done = next(loader, None)
        return done.opened() if isinstance(done, Parcel) else done  # else the thread that pins did
    except FreeBindError:
        raise
    except Exception as error:
        if (cause := _cause(error, watch)) is None:
            raise
        raise cause from error


def _cause(error: Exception, watch: WorkerWatch) -> Exception | None:
    """Return what an error means that a worker met, or its end; None if it is from elsewhere."""
    last = str(error).strip().splitlines()[-1:]
    if isinstance(error, OSError | EOFError):
        time.sleep(LAST_GASP)  # of a worker that no longer hands over what it read
    if dead := watch.dead():
        return _WorkerDied(dead)
    if "exited unexpectedly" in str(error):
        return too_little_memory()
    if is_out_of_memory(error):
        return too_little_memory(*last)
    if "in DataLoader worker" in str(error):
        return FreeBindError(
            "what an encoder prepared cannot be handed over by the process that read it",
            got=last[0],
            fix="let read and collate return tensors, arrays, text, or lists or dictionaries of "
            "them; or read with --workers 0",
        )
    return None


def _started(
    worker: _Worker, tasks: Iterator[tuple[int, Task]], how: Ahead, watch: WorkerWatch
) -> Any:
    options: dict[str, Any] = {
        "sampler": tasks,
        "batch_size": None,
        "collate_fn": _as_it_is,
        "num_workers": how.workers,
        "prefetch_factor": how.tasks,
        "pin_memory": how.pin,
        "multiprocessing_context": "fork",
        "worker_init_fn": watch.start,
        "generator": torch.Generator(),  # not the global one, which a tuning draws from
    }
    here = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD)
    with warnings.catch_warnings():
        for about in FORKS:
            warnings.filterwarnings("ignore", message=about)
        loader = iter(DataLoader(worker, **options))
    watch.started()
    if here and before is not None:  # torch would raise errors in the middle of any other line
        signal.signal(signal.SIGCHLD, before)
    return loader


def _as_it_is(done: Parcel) -> Parcel:
    return done


def _blame(reader: ItemReader, error: _WorkerDied, deaths: Counter[int], how: Ahead) -> None:
    """Note the rows that are not to be read again."""
    for died in error.dead:
        if died.row == NOTHING:
            raise too_little_memory() from error
        deaths[died.row] += 1
        if died.hung:
            reader.lost[died.row] = f"reading it took longer than {how.seconds:g} s"
        elif deaths[died.row] > 1:
            reader.lost[died.row] = f"the process that read it {died}, twice"
