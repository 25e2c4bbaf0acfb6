"""Segments of recordings and videos, written as ``clip.mp4#t=30,40``."""

from __future__ import annotations

import re

from fb_jax.errors import FreeBindError

TIME = r"(?:\d+:){0,2}\d+(?:\.\d*)?"
FRAGMENT = re.compile(
    rf"(?P<path>.+)#t=(?:npt:)?(?=[\d,])(?P<start>{TIME})?(?:,(?P<stop>{TIME}))?", re.DOTALL
)
"""A media fragment of the W3C (Media Fragments URI 1.0, 4.2.1): seconds, or [hh:]mm:ss."""


def segment_of(text: str) -> tuple[str, float, float | None]:
    """Split a path and its segment: ``#t=30,40``, ``#t=30`` or ``#t=,40`` at the end.

    Anything else behind a ``#`` is part of the path, so that ``song#t=1.mp3`` is a file.

    Returns:
        Path, first second, and the second at which the segment ends; None is the end.
    """
    found = FRAGMENT.fullmatch(text)
    if found is None:
        return text, 0.0, None
    start, stop = found["start"], found["stop"]
    return found["path"], _seconds(start) if start else 0.0, _seconds(stop) if stop else None


def fragment(start: float, stop: float | None) -> str:
    """Return the text that ``segment_of`` reads."""
    return f"#t={seconds_text(start)}" + ("" if stop is None else f",{seconds_text(stop)}")


def past_the_end(where: object, seconds: float | None, what: str = "it") -> FreeBindError:
    """Return the error for a time at which a recording or video has ended.

    Args:
        where: The item.
        seconds: Its duration; None if it is unknown.
        what: What has this duration, if it is not the whole item.
    """
    got = None if seconds is None else f"{what} lasts {seconds:g} s"
    return FreeBindError("an item ends before the time that is asked for", where=where, got=got)


def _seconds(text: str) -> float:
    """Read ``[[hh:]mm:]ss``."""
    return sum(float(part) * 60**i for i, part in enumerate(reversed(text.split(":"))))


def seconds_text(seconds: float) -> str:
    """Write a number without an exponent, as the W3C's grammar wants."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".")
