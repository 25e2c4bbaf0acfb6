"""The largest pictures and recordings that are read."""

from __future__ import annotations

import os

from fb_jax.errors import FreeBindError

MAX_PIXELS = "FREEBIND_MAX_PIXELS"
MAX_SAMPLES = "FREEBIND_MAX_SAMPLES"
LIMITS = {MAX_PIXELS: 178_956_970, MAX_SAMPLES: 500_000_000}
"""Most pixels of a picture (Pillow's limit), and samples of all channels of a recording (2 GB).

Larger files could take all memory. Environment variables of these names change the limits.
"""


def limit(name: str, given: int | None) -> int:
    """Return a limit: the given one, or that of the environment."""
    text = os.environ.get(name, str(LIMITS[name]))
    if given is None and not text.isdecimal():
        raise FreeBindError(f"{name} is no whole number", got=repr(text))
    return int(text) if given is None else given


def require_at_most(name: str, most: int, count: int, where: object) -> None:
    """Raise a FreeBindError if an item is above a limit."""
    if count > most:
        raise FreeBindError(
            "a file is too large to be read",
            where=where,
            expected=f"at most {most:,} ({name})",
            got=f"{count:,}",
            fix=f"if you do want to read it: export {name}={count}",
        )
