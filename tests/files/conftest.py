from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    """Fail unless every file that a test opened is closed."""
    before = sorted(Path("/proc/self/fd").iterdir())
    yield
    assert sorted(Path("/proc/self/fd").iterdir()) == before
