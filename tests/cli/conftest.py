import signal
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from fb_jax.console import console


class Done(NamedTuple):
    """What a command left: exit status, output, errors."""

    status: int
    out: str
    err: str


@pytest.fixture
def invoke(monkeypatch, capsys, tmp_path) -> Iterator[Callable[..., Done]]:
    """Run a command in this process, started in an empty folder of a wide terminal."""

    def invoke(main: Callable[[], None], *args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, args)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code
        return Done(status, *capsys.readouterr())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 160)
    stops = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in stops]
    yield invoke
    for number, handler in zip(stops, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def must(invoke) -> Callable[..., str]:
    """Run a command that must succeed; return what it printed."""

    def must(main: Callable[[], None], *args: object) -> str:
        done = invoke(main, *args)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    return must
