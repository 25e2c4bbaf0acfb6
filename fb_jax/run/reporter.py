"""How long work shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

Advance = Callable[..., None]


@runtime_checkable
class Reporter(Protocol):
    """Shows the progress of tasks."""

    def task(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Return a context for one task; it yields a function to call with the units just done."""


class Silent:
    """Shows nothing."""

    def task(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Return a context whose function does nothing."""
        return nullcontext(lambda *_: None)
