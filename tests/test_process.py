import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

from fb_jax.errors import FreeBindError, Interrupted, notice_once
from fb_jax.limits import address_space, require_address_space
from fb_jax.process import run_command

PRINT = """
import sys
from fb_jax.errors import FreeBindError
from fb_jax.process import run_command

def command():
    print("σ " * 10 ** int(sys.argv[1]))
    if sys.argv[2:]:
        raise FreeBindError("bad input")

run_command(command)
"""


@pytest.mark.parametrize(
    ("ending", "status", "out", "err"),
    [
        ("6 | head -c 1", 128 + signal.SIGPIPE, "", ""),
        ("1 | true", 128 + signal.SIGPIPE, "", ""),
        ("1 >/dev/full", 2, "", "error: output cannot be written: [Errno 28]"),
        ("1 >&-", 0, "", ""),
        ("1 bad >&-", 2, "", "error: bad input"),
        ("1 bad 2>&-", 2, "σ σ", ""),
        ("1 bad 2>/dev/full", 2, "σ σ", ""),
        ("1 bad >&- 2>&-", 2, "", ""),
        ("1 # ascii", 0, "\\u03c3 \\u03c3", ""),
    ],
)
def test_no_output_ends_in_a_traceback(tmp_path, ending, status, out, err):
    (tmp_path / "print.py").write_text(PRINT)
    encoding = "ascii" if "ascii" in ending else "utf-8"
    given = f"PYTHONUNBUFFERED= PYTHONIOENCODING={encoding}"  # unset or empty: Python buffers
    script = f"set -o pipefail; {given} {sys.executable} {tmp_path / 'print.py'} {ending}"
    done = subprocess.run(["bash", "-c", script], capture_output=True)
    assert done.returncode == status, done.stderr
    assert done.stdout.decode(errors="ignore").startswith(out)
    assert done.stderr.decode().startswith(err)
    assert done.stderr.count(b"\n") == bool(err)


def test_a_notice_is_one_line_of_the_command_that_noticed(capsys, caplog):
    for disk in (1, 2):
        run_command(lambda disk=disk: [notice_once(f"{disk}\x1b {i}", disk) for i in range(2)])
    assert capsys.readouterr().err == "note: 1\\x1b 0\nnote: 2\\x1b 0\n"
    assert not caplog.records
    notice_once("said by a program")
    notice_once("said by a program")
    assert len(caplog.records) == 1


def failing(error, cause=None):
    def command():
        raise error from cause

    return command


NO_MEMORY = "error: there is too little memory\n  got:      RuntimeError: "


@pytest.mark.parametrize(
    ("error", "cause", "status", "told"),
    [
        (FreeBindError("bad"), None, 2, "error: bad"),
        (Interrupted("stopped"), None, 130, "stopped"),
        (Interrupted("stopped"), BrokenPipeError(), 141, "stopped"),
        (Interrupted("stopped"), OSError(errno.ENOSPC, "full"), 2, "stopped\nerror: output cannot"),
        (KeyboardInterrupt(), None, 130, "interrupted: run the same command again"),
        (MemoryError(), None, 2, "error: there is too little memory"),
        (RuntimeError("RESOURCE_EXHAUSTED:\n 9 GB"), None, 2, f"{NO_MEMORY}RESOURCE_EXHAUSTED: 9"),
        (
            RuntimeError("CUDA out of memory." + 900 * "x"),
            None,
            2,
            f"{NO_MEMORY}CUDA out of memory",
        ),
        (RuntimeError("can't allocate memory"), None, 2, f"{NO_MEMORY}can't allocate memory"),
        (RuntimeError("can't start new thread"), None, 2, f"{NO_MEMORY}can't start new thread"),
        *(
            (
                OSError(getattr(errno, name), name),
                None,
                2,
                "error: output cannot be written: [Errno",
            )
            for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EBADF", "EROFS", "EMFILE", "ENFILE")
        ),
        (SystemExit(3), None, 3, ""),
    ],
    ids=repr,
)
def test_what_can_be_mended_ends_in_a_status_and_a_message(capsys, error, cause, status, told):
    with pytest.raises(SystemExit) as stop:
        run_command(failing(error, cause))
    assert stop.value.code == status
    err = capsys.readouterr().err
    assert err.startswith(told)
    assert len(err) < 600


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.ENOENT, "x")], ids=repr)
def test_a_fault_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run_command(failing(error))


@pytest.mark.parametrize(
    ("soft", "hard", "set_to"),
    [
        (256, 100_000, [(8192, 100_000)]),
        (256, resource.RLIM_INFINITY, [(8192, resource.RLIM_INFINITY)]),
        (256, 4096, [(4096, 4096)]),
        (4096, 4096, []),
        (10_000, 100_000, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ],
)
def test_a_command_may_open_many_files_if_that_is_allowed(monkeypatch, soft, hard, set_to):
    found = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: found.append(limits))
    run_command(lambda: None)
    assert found == set_to


def test_a_limit_that_is_too_low_is_refused(monkeypatch):
    assert address_space(computes=False) < 10**9 < address_space(computes=True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert 3 * 10**9 < address_space(computes=False) < 10**10 < address_space(computes=True)
    needed = address_space(computes=True)
    for limit in (needed, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, -1))
        require_address_space(needed)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (needed - 1, -1))
    with pytest.raises(FreeBindError, match=r"too little memory\n.*ulimit -v"):
        require_address_space(needed)


@pytest.mark.parametrize("command", ["bank info .", "train --dry-run"])
def test_commands_ask_for_address_space_before_they_import_what_aborts_without(command):
    freebind = f"from fb_jax.cli.main import main; main(*{command.split()})"
    script = f'ulimit -v 150000; exec {sys.executable} -c "{freebind}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "error: this process may use too little memory",
    )
