import os
import signal
import sys
import threading
from contextlib import suppress

import pytest

from fb_jax.console import STOP, ConsoleReporter
from fb_jax.errors import Interrupted


def stop_within_a_task() -> None:
    with ConsoleReporter().task("work", 3) as advance:
        os.kill(os.getpid(), signal.SIGINT)
        advance(1)


def test_ctrl_c_stops_at_the_next_safe_point():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="interrupted: work"):
        stop_within_a_task()
    assert signal.getsignal(signal.SIGINT) == handler


def test_after_an_interruption_the_next_task_runs(capsys):
    """As in a notebook, where the process lives on."""
    with pytest.raises(Interrupted):
        stop_within_a_task()
    with ConsoleReporter().task("more", 2) as advance:
        advance(0)
        advance(2)
    assert "more: 2 done" in capsys.readouterr().out
    assert not STOP.is_set()


def test_a_task_that_counts_nothing_tells_no_number(capsys):
    for total, done in ((0, ()), (0, (0, 2)), (3, ())):
        with ConsoleReporter().task("work", total) as advance:
            for units in done:
                advance(units)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("done")[0] for line in lines] == ["work: ", "work: 2 ", "work: 0 "]


def test_ctrl_c_after_the_last_unit_is_not_lost():
    with pytest.raises(Interrupted), ConsoleReporter().task("work", 1) as advance:  # noqa: PT012
        advance(1)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_task_runs_in_any_thread():
    errors, handler = [], signal.getsignal(signal.SIGINT)

    def work():
        try:
            with ConsoleReporter().task("work", 1) as advance:
                advance(1)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_task_whose_progress_nobody_reads_is_interrupted(monkeypatch):
    def work():
        with ConsoleReporter().task("work", 2) as advance:
            advance(1)

    def gone(_text):
        raise BrokenPipeError

    monkeypatch.setattr("fb_jax.console.QUIET_SECONDS", 0)
    monkeypatch.setattr(sys.stdout, "write", gone)
    with pytest.raises(Interrupted, match="interrupted: work"):
        work()


def test_a_stop_does_not_reach_the_next_task():
    with pytest.raises(Interrupted):
        stop_within_a_task()
    assert not STOP.is_set()


def test_a_task_in_another_thread_does_not_forget_the_stop():
    def work():
        with suppress(Interrupted), ConsoleReporter().task("beside", 1):
            pass

    with pytest.raises(Interrupted), ConsoleReporter().task("work", 1):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
