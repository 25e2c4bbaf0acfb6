"""Progress of tasks: a bar or lines, and Ctrl-C between two units of work."""

from __future__ import annotations

import errno
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fb_jax.errors import Interrupted
from fb_jax.process import AGAIN, tell

QUIET_SECONDS = 15.0
"""Seconds between two lines of progress where output is not a terminal."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to ``run_command``; Rich would exit here, in the middle of a training."""
        raise BrokenPipeError(errno.EPIPE, "whoever reads the output has gone")


console = _Console()
STOP = threading.Event()
"""Set by the first Ctrl-C or SIGTERM in a task of the main thread; cleared when the task ends."""


class ConsoleReporter:
    """Shows tasks with rate and time left: a live bar in a terminal, lines in a log."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Callable[..., None]]:
        """Show one task.

        Args:
            title: Name of the task.
            total: Units in all; 0 if that is not known.

        Yields:
            A function that takes the units just done and, optionally, a loss or a note to show. It
            raises ``Interrupted`` after Ctrl-C or SIGTERM, and when nobody can read the progress.
        """
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        live = Progress(*columns, console=console, disable=not console.is_terminal)
        with _stoppable(), live as bar:
            task = bar.add_task(title, total=total or None, rate="", note="")
            lines = _Lines(title, total)

            def advance(done: int, loss: float = math.nan, note: str = "") -> None:
                note = note if math.isnan(loss) else f"loss {loss:.3f}"
                try:
                    lines.advance(done, note)
                    bar.update(task, advance=done, rate=lines.rate, note=note)
                except OSError as error:
                    raise Interrupted(f"interrupted: {title}", fix=AGAIN) from error
                _raise_if_stopped(title)

            yield advance
            lines.end()
            _raise_if_stopped(title)  # the last unit may have been counted before


def _raise_if_stopped(title: str) -> None:
    if STOP.is_set():
        raise Interrupted(f"interrupted: {title}", fix=AGAIN)


class _Lines:
    """Progress as lines of text, and the rate for both lines and bar."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.started = self.printed = time.monotonic()
        self.skipped = None if total else 0

    @property
    def rate(self) -> str:
        """Units that this process did in a second."""
        seconds = time.monotonic() - self.started
        return f"{(self.done - (self.skipped or 0)) / max(seconds, 1e-9):,.1f}/s"

    def advance(self, done: int, note: str) -> None:
        """Count units; the first call counts those that were done before."""
        if self.skipped is None:
            self.skipped = done
        self.done += done
        if not console.is_terminal and time.monotonic() - self.printed > QUIET_SECONDS:
            self.printed = time.monotonic()
            print(f"{self.title}: {self._progress()} {self.rate} {note}", flush=True)

    def _progress(self) -> str:
        return f"{self.done:,}" + (f" of {self.total:,}{self._left()}" if self.total else "")

    def _left(self) -> str:
        own = self.done - (self.skipped or 0)
        if not own:
            return ""
        seconds = (time.monotonic() - self.started) / own * (self.total - self.done)
        return f", {seconds:,.0f} s left"

    def end(self) -> None:
        """Print the sum of the task where no bar shows it."""
        if not console.is_terminal:
            seconds = time.monotonic() - self.started
            before = f", {self.skipped:,} of them before" if self.total and self.skipped else ""
            count = f"{self.done:,} " if self.total or self.done else ""  # else nothing counted
            print(f"{self.title}: {count}done in {seconds:.1f} s{before}", flush=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the next safe point of the task.

    Only the main thread can set signal handlers; in others the handlers stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, _request_stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        STOP.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _request_stop(_signal: int, _frame: FrameType | None) -> None:
    if STOP.is_set():
        raise KeyboardInterrupt
    STOP.set()
    tell("stopping at the next safe point; press again to stop at once")
