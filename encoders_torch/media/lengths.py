"""WAV files whose header was never finished: the length in it is 0."""

from __future__ import annotations

import struct

UNKNOWN = b"\xff" * 4
"""A length that libsndfile does not believe: it reads to the end of the file."""


def with_unknown_length(content: bytes) -> bytes | None:
    """Return a WAV file whose header says that its length is unknown, where it says 0.

    A recorder writes such a header first, and the true lengths when it ends, if it can. A file that
    holds no samples is told by the length of the whole, which then is right.

    Returns:
        The changed content; None if the header is finished, or the content is something else.
    """
    at = content.find(b"data" + bytes(4))
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE" or at < 0:
        return None
    (whole,) = struct.unpack("<I", content[4:8])
    if whole + 8 == len(content):
        return None
    return content[: at + 4] + UNKNOWN + content[at + 8 :]
