"""Turns errors of other libraries into errors that the user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fb_jax.errors import FreeBindError

LONGEST = 300
"""Characters of an error in one line."""


@contextmanager
def explained(
    what: str, *, where: object = None, expected: object = None, fix: str | None = None
) -> Iterator[None]:
    """Raise any error of the block as a FreeBindError with this text; see ``FreeBindError``."""
    try:
        yield
    except (FreeBindError, MemoryError):  # too little memory is no fault of a file
        raise
    except Exception as error:  # by library and cause, one of many kinds
        got = in_one_line(error)
        raise FreeBindError(what, where=where, expected=expected, got=got, fix=fix) from error


def in_one_line(error: Exception) -> str:
    """Return the kind and the text of an error; of a FreeBindError the text alone."""
    text = " ".join(str(error).split())
    if isinstance(error, FreeBindError):
        return text
    return f"{type(error).__name__}: {_cut(text)}"


def _cut(text: str) -> str:
    """Return a text of bounded length, cut after a word."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rsplit(' ', 1)[0]} ..."
