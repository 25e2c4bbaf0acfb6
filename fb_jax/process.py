"""A command as a process: its streams, and how it ends."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.limits import allow_open_files

AGAIN = "run the same command again"
REFUSED, INTERRUPTED, CLOSED_PIPE = 2, 128 + signal.SIGINT, 128 + signal.SIGPIPE
MACHINE = {
    getattr(errno, f"E{name}")
    for name in ["NOSPC", "DQUOT", "FBIG", "IO", "BADF", "ROFS", "MFILE", "NFILE"]
}
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory", "can't start new")


def run_command(command: Callable[[], object]) -> None:
    """Run a command, and end the process by ``sys.exit`` if it fails.

    The status is 2 for what its user can mend, such as bad input or a full disk, 130 after an
    interruption, 141 if whoever reads the output has gone. Other errors pass: they are our faults.
    """
    _prepare_streams()
    allow_open_files()
    with _notices():
        status = _status_of(command) or _status_of(sys.stdout.flush)
    for stream in (sys.stdout, sys.stderr):  # Python flushes them again, and would complain
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if status:
        sys.exit(status)


class _Notices(logging.Handler):
    """Prints notices as lines of a command."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        tell(f"note: {record.getMessage()}")


@contextmanager
def _notices() -> Iterator[None]:
    """Print the notices of ``errors.notice_once`` meanwhile, whatever libraries do with loggers."""
    logger, handler = logging.getLogger("freebind"), _Notices()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def tell(message: str) -> None:
    """Print a message to standard error; if nobody can read it, do nothing."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def _prepare_streams() -> None:
    """Open streams that were closed, on the null device, and let every letter be printed.

    If a stream stayed closed, the next file would get its number, and what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _status_of(call: Callable[[], object]) -> str | int | None:
    try:
        call()
    except SystemExit as stop:  # such as after --help
        return stop.code
    except (Exception, KeyboardInterrupt) as error:
        status, message = _ending(error)
        if status is None:
            raise
        if message:
            tell(message)
        return status
    return None


def _ending(error: BaseException) -> tuple[int | None, str]:
    """Return the exit status after an error, and what to tell; None if the fault is ours."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        status, why = _ending(error.__cause__) if error.__cause__ else (INTERRUPTED, "")
        return status, "\n".join(filter(None, [str(error) or f"interrupted: {AGAIN}", why]))
    if isinstance(error, FreeBindError):
        return REFUSED, f"error: {error}"
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE, ""
    if isinstance(error, OSError) and error.errno in MACHINE:
        return REFUSED, f"error: {_failed(error)}"
    if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
        return REFUSED, f"error: {_out_of_memory(error)}"
    return None, ""


def _failed(error: OSError) -> str:
    """Return what failed: a file by name, or what has no name: the output."""
    if error.filename is None:
        return f"output cannot be written: {error}"
    return f"a file cannot be read or written: {error}"


def _out_of_memory(error: BaseException) -> FreeBindError:
    return FreeBindError(
        "there is too little memory",
        got=" ".join(f"{type(error).__name__}: {error}".split())[:300],
        fix="free memory, or make the work smaller: a smaller batch, or for training a smaller "
        "--runtime.resident-bytes; finished parts are kept",
    )
