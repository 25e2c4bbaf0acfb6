"""Worker processes read items ahead of the encoder, in order, within a limit of bytes."""

from __future__ import annotations

import math
import os
import pickle
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import in_one_line
from encoders_torch.exporting.report import REMOVED
from encoders_torch.media import Media
from encoders_torch.sources import Source
from fb_jax.banks import ItemList
from fb_jax.errors import FreeBindError

CHUNK = 16
"""A worker gets up to this many items at once, since each handover takes time."""

CAPTION_SECONDS = 0.25
"""Captions are read in this process for this long before workers are started."""


@dataclass(frozen=True)
class Read:
    """One item that was read: the pickled result of ``FrozenEncoder.read``, or why it failed."""

    data: bytes = b""
    reason: str | None = None

    def item(self) -> Any:
        """Return the result of ``FrozenEncoder.read``."""
        return pickle.loads(self.data)


@dataclass(frozen=True)
class ItemReader:
    """Reads rows of an item list, whose content is in a source."""

    encoder: FrozenEncoder
    modality: str
    items: ItemList
    source: Source

    def read(self, row: int) -> Read:
        """Read one item. Any error becomes a reason, since one bad file must not end a run."""
        if row in self.items.removed:
            return Read(reason=REMOVED)
        try:
            item = self.items[row]
            if not item[self.source.column].strip():
                return Read(reason=f"the {self.source.column} is empty")
            return read_item(self.encoder, self.modality, self.source.content(item))
        except Exception as error:
            return Read(reason=in_one_line(error))


def read_item(encoder: FrozenEncoder, modality: str, content: str | Path | Media) -> Read:
    """Read a caption, or the file at a path.

    Raises:
        Exception: Any, if the encoder cannot read it.
    """
    if isinstance(content, Media) and (kind := content.special()):
        return Read(reason=f"no file, but {kind}")  # an encoder's own reader might wait for ever
    return Read(pickle.dumps(encoder.read(modality, content), protocol=5))


def read_ahead(
    reader: ItemReader, rows: Iterable[int], *, workers: int, most_items: int, most_bytes: int
) -> Generator[Read, None, None]:
    """Read rows in order, in worker processes that continue while the caller is busy.

    Captions are cheap, so workers are started only if there are many. Media always go to workers:
    decoders may crash, and their rounding depends on the thread count.

    Args:
        reader: Reads an item.
        rows: Rows of its item list.
        workers: Processes. 0 reads each item when it is asked for.
        most_items: Most items that are being read, or are read and wait.
        most_bytes: The same in bytes; each item counts as much as the largest so far.

    Raises:
        FreeBindError: A worker died.
    """
    rows = iter(rows)
    if not workers or reader.source.folder is None:
        yield from _read_here(reader, rows, CAPTION_SECONDS if workers else math.inf)
    if (first := next(rows, None)) is None:
        return
    rows = chain([first], rows)
    waiting: deque[tuple[int, Future[list[Read]]]] = deque()
    allowed, largest = workers, 1
    with _worker_processes(reader, workers) as pool:
        while True:
            room = allowed - sum(count for count, _ in waiting)
            chunk = max(1, min(CHUNK, allowed // (2 * workers)))
            while room > 0 and (some := list(islice(rows, chunk))):
                waiting.append((len(some), pool.submit(_read_chunk, some)))
                room -= len(some)
            if not waiting:
                return
            for read in waiting.popleft()[1].result():
                largest = max(largest, len(read.data))
                yield read
            allowed = max(1, min(most_items, most_bytes // largest))


def _read_here(reader: ItemReader, rows: Iterator[int], seconds: float) -> Iterator[Read]:
    """Read rows in this process, until reading has taken this long."""
    elapsed = 0.0
    while elapsed < seconds and (row := next(rows, None)) is not None:
        began = time.perf_counter()
        read = reader.read(row)
        elapsed += time.perf_counter() - began
        yield read


@contextmanager
def _worker_processes(reader: ItemReader, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fork workers. They share the encoder's weights and use no GPU."""
    arguments = (reader, os.getpid())
    pool = ProcessPoolExecutor(workers, get_context("fork"), _start_worker, arguments)
    try:
        # A fork has no threads of torch or JAX. Workers use neither's.
        with warnings.catch_warnings():
            for category in (DeprecationWarning, RuntimeWarning):
                warnings.filterwarnings("ignore", message=".*fork", category=category)
            pool.submit(os.getpid).result()
        yield pool
    except BrokenProcessPool as error:
        raise FreeBindError(
            "a process that reads items died",
            got="it ran out of memory, or a library that decodes crashed",
            fix="run the same command again, with fewer --workers: finished shards are kept",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_reader: ItemReader


def _start_worker(reader: ItemReader, parent: int) -> None:
    global _reader
    _reader = reader
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the exporting process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker once its parent has been killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _read_chunk(rows: list[int]) -> list[Read]:
    return [_reader.read(row) for row in rows]
