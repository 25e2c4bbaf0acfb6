"""The one way to disturb a process: kill it, stop it, fill its disk, take its locks.

A disturbance happens at the n-th call of a named function::

    At("os.replace")                                    kill -9, before the first rename
    At("os.replace", on=r"emb_00002\\.npy$")             the first whose arguments match
    At(FILE_STEPS, 3, "SIGSTOP")                        stop it where the third file is touched
    At("disturb.write", 2, "ENOSPC")                    the disk is full from the second write on
    At("disturb.write", 1, "ENOSPC", on=r"b\\.json")     only for one file
    NO_LOCKS, NO_FOLDER_SYNC                            disks that cannot do that

In this process::

    with disturbed(At("disturb.write", 2, "ENOSPC")), pytest.raises(FreeBindError):
        write(...)

In another one, by the words after ``python``; ``python(..., at=[...])`` of conftest.py is the same
with compiled code that is shared::

    assert run("-c", code, at=[At("os.replace")]).returncode == -signal.SIGKILL
    process = start("-m", "encoders_torch.export", ..., at=[At(FILE_STEPS, 3, "SIGSTOP")])
    wait_until_stopped(process)  # it goes on after process.send_signal(signal.SIGCONT)

A signal is sent at the n-th call; an error is raised at the n-th and every later one. Code in C++
that writes by itself (checkpoints' arrays) is not seen: ``room`` bounds the files of this process.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

REPOSITORY = Path(__file__).parents[1]
FILE_STEPS = "disturb.begin os.replace os.rename os.unlink os.rmdir"
"""A file is about to be begun, to get its name, or to go."""


class At(NamedTuple):
    """What happens, and when.

    Attributes:
        calls: Names of functions with their modules, by spaces.
        number: Of the call among those that match, from 1.
        do: A signal, such as SIGKILL; an error, such as ENOSPC; or ``disturb.no_space``,
            ``disturb.reader_gone``.
        on: Only calls match whose arguments do, as text. If the first one is an open file or its
            descriptor, that is its path, which ends in / for a folder.
    """

    calls: str
    number: int = 1
    do: str = "SIGKILL"
    on: str = ""


NO_LOCKS = At("fcntl.flock fcntl.lockf", do="ENOLCK")
NO_FOLDER_SYNC = At("os.fsync", do="EINVAL", on="/$")


# In this process


@contextmanager
def disturbed(*moments: At) -> Iterator[None]:
    """Disturb this process within a block."""
    with ExitStack() as stack:
        for moment in moments:
            stack.enter_context(_watched(moment.calls, moment.on, _doing(moment)))
        yield


@contextmanager
def counted(calls: str, on: str = "") -> Iterator[list[str]]:
    """Fill a list with the arguments of the calls that match: where a process can be disturbed."""
    found: list[str] = []
    with _watched(calls, on, found.append):
        yield found


@contextmanager
def room(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def _doing(moment: At) -> Callable[[str], None]:
    seen: list[str] = []

    def do(text: str) -> None:
        seen.append(text)
        if moment.do.startswith("SIG") and len(seen) == moment.number:
            os.kill(os.getpid(), signal.Signals[moment.do])
        elif moment.do.startswith("disturb.") and len(seen) == moment.number:
            resolve_name(moment.do)()
        elif moment.do.startswith("E") and len(seen) >= moment.number:
            code = getattr(errno, moment.do)
            raise OSError(code, os.strerror(code), text)

    return do


def no_space() -> None:
    """Let this process write nothing more, in C++ either, and see a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0))  # noqa: B010


def reader_gone() -> None:
    """Close the pipe that reads what this process prints, which is at once."""
    read, write_end = os.pipe()
    os.close(read)
    os.dup2(write_end, 1)
    sys.modules["fb_jax.console"].QUIET_SECONDS = 0  # type: ignore[attr-defined]


@contextmanager
def _watched(calls: str, on: str, then: Callable[[str], None]) -> Iterator[None]:
    """Call ``then`` with the arguments, as text, before every call that matches."""
    with ExitStack() as stack:
        for opener in ("io.open", "builtins.open"):
            if resolve_name(opener) is not _open:
                stack.enter_context(mock.patch(opener, _open))
        for name in calls.split():
            stack.enter_context(mock.patch(name, _before(resolve_name(name), on, then)))
        yield


def _before(function: Callable[..., Any], on: str, then: Callable[[str], None]) -> Callable:
    def call(*args: Any, **options: Any) -> Any:
        text = " ".join([*map(_name, args[:1]), *map(str, args[1:])])
        if re.search(on, text):
            then(text)
        return function(*args, **options)

    return call


def _name(argument: object) -> str:
    """Return a function's first argument as text; the path of a file, or of its descriptor."""
    number = argument.fileno() if isinstance(argument, io.IOBase) else argument
    link = f"/proc/self/fd/{number}"
    if not isinstance(number, int) or not os.path.islink(link):  # noqa: PTH114
        return str(argument)
    return os.readlink(link) + "/" * os.path.isdir(link)  # noqa: PTH112, PTH115


def begin(path: object) -> None:
    """Called before a file is opened for writing."""


def write(file: io.FileIO, data: bytes) -> int:
    """Called for every write of a file that Python writes."""
    return io.FileIO.write(file, data)


class _File(io.FileIO):
    def write(self, data: bytes) -> int:
        return write(self, data)


_python_opens = io.open


def _open(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
    """Open a file as Python does, so that ``begin`` and ``write`` are called."""
    if not set("wax+") & set(mode) or not isinstance(file, str | Path):
        return _python_opens(file, mode, buffering, *args, **options)
    begin(file)
    raw = _File(file, mode.replace("b", "").replace("t", ""), opener=options.pop("opener", None))
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffered
    text = io.TextIOWrapper(buffered, *args, line_buffering=buffering == 1, **options)
    text.mode = mode  # as Python's open does
    return text


# In another process


def start(*words: object, at: Sequence[At] = (), **options: Any) -> subprocess.Popen[str]:
    """Start Python with these words: a script, ``-m MODULE`` or ``-c CODE``, and arguments."""
    prelude = ["-c", "import disturb; disturb.main()", json.dumps(at)] if at else []
    paths = [str(REPOSITORY), str(REPOSITORY / "tests")]  # this clone, whichever is installed
    own = {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    given["env"] = os.environ | own | options.get("env", {})
    return subprocess.Popen([sys.executable, *prelude, *map(str, words)], **given)


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start Python, and wait until it ends; see ``start``."""
    process = start(*words, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait for the SIGSTOP of a process; fail if it ends before."""
    how = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert how is not None
    assert how.si_code == os.CLD_STOPPED, "it ended before it was stopped"


def main() -> None:
    """Run the program that the arguments name, disturbed."""
    moments, kind, sys.argv = json.loads(sys.argv[1]), sys.argv[2], sys.argv[2:]
    sys.path[0] = ""
    with disturbed(*(At(*moment) for moment in moments)):
        if kind == "-c":
            code, sys.argv = sys.argv[1], ["-c", *sys.argv[2:]]
            exec(compile(code, "<code>", "exec"), vars(sys.modules["__main__"]))
        elif kind == "-m":
            sys.argv = sys.argv[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(kind, run_name="__main__")
