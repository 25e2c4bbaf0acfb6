from collections.abc import Callable

import pytest


@pytest.fixture
def must(invoke) -> Callable[..., str]:
    """Run a command that must succeed; return what it printed."""

    def must(main: Callable[[], None], *args: object) -> str:
        done = invoke(main, *args)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    return must
