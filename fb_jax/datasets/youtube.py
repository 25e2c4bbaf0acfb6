"""Clips of YouTube videos: their ids, and the names that downloaders give their files."""

from __future__ import annotations

import re

from fb_jax.errors import FreeBindError

ID = re.compile(r"[A-Za-z0-9_-]{11}")


def require_id(text: str, where: object) -> str:
    """Return the id of a video; raise a FreeBindError unless it can be one."""
    if not ID.fullmatch(text):
        raise FreeBindError(
            "this is no id of a YouTube video",
            where=where,
            expected="11 letters, digits, - or _",
            got=repr(text),
            fix="take the list as published; programs for spreadsheets damage ids that begin "
            "with - or =",
        )
    return text


def clip_names(video: str, start: float, stop: float) -> tuple[str, ...]:
    """Return the names that the file of a clip may have: [O] those of well-known downloaders.

    Args:
        video: Id of the video.
        start: First second of the clip.
        stop: Second at which it ends.

    Returns:
        ``ID``, ``ID_30``, ``ID_30000_40000``, then the same with a ``Y`` before them.
    """
    milliseconds = f"{video}_{round(start * 1000)}_{round(stop * 1000)}"
    names = (video, f"{video}_{int(start)}", milliseconds)
    return (*names, *(f"Y{name}" for name in names))
