"""Opens videos, and sounds that libsndfile does not read, with FFmpeg through PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from encoders_torch.media.medium import Media
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra

VIDEOS: Mapping[str, str] = {
    ".3gp": "mov",
    ".asf": "asf",
    ".avi": "avi",
    ".flv": "flv",
    ".m2ts": "mpegts",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".mts": "mpegts",
    ".ogv": "ogg",
    ".ts": "mpegts",
    ".vob": "mpeg",
    ".webm": "webm",
    ".wmv": "asf",
}
SOUNDS: Mapping[str, str] = {
    ".aac": "aac",
    ".ac3": "ac3",
    ".amr": "amr",
    ".ape": "ape",
    ".m4a": "mov",
    ".m4b": "mov",
    ".mka": "matroska",
    ".tta": "tta",
    ".wma": "asf",
    ".wv": "wv",
}
"""FFmpeg's format of each suffix. No others are opened: some name files to be read next."""

ALSO = ("aiff", "caf", "wav")
"""Formats that libsndfile reads too, but not with all encodings."""

LEAD = 1.0
"""Seconds of decoding before those that count: decoders, and the times of MPEG, need them."""

MICROSECONDS = 1_000_000
"""FFmpeg counts a container's times in them."""


@contextmanager
def open_container(media: Media, refused: Exception) -> Iterator[Any]:
    """Open a media item as a container of streams.

    Args:
        media: The item.
        refused: Why the reader that was tried first does not read it. It is raised if FFmpeg does
            not know the content either.

    Raises:
        FreeBindError: PyAV is not installed, or FFmpeg cannot decode.
    """
    try:
        av = import_extra("av", "video", where=media)
    except FreeBindError:
        if media.path.suffix.lower() in VIDEOS.keys() | SOUNDS.keys():
            raise
        raise refused from None
    known = ",".join({*VIDEOS.values(), *SOUNDS.values(), *ALSO})
    options = {"format_whitelist": known, "protocol_whitelist": "none"}
    with media.open() as file:
        try:
            container = av.open(file, container_options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError):
            raise refused from None
        with container:
            try:
                yield container
            except av.FFmpegError as error:  # one of its kinds is a MemoryError
                raise FreeBindError(
                    "a file cannot be decoded", where=media, got=f"FFmpeg: {error}"
                ) from error


def stream_of(container: Any, kind: str, media: Media) -> Any:
    """Return the stream of a kind, ``audio`` or ``video``, that a player would choose.

    It decodes in one thread: worker processes use one core each.

    Raises:
        FreeBindError: There is none; the cover of an album is no video.
    """
    stream = container.streams.best(kind)
    if stream is None or "attached_pic" in str(stream.disposition):
        what = {"audio": "sound", "video": "picture"}[kind]
        raise FreeBindError(f"a video has no {what}", where=media)
    stream.codec_context.thread_count = 1
    return stream


def start_of(container: Any) -> float:
    """Return the time stamp, in seconds, of a container's second 0."""
    return (container.start_time or 0) / MICROSECONDS


def duration_of(container: Any) -> float | None:
    """Return the seconds of a container; None if its header does not say them."""
    return container.duration / MICROSECONDS if container.duration else None


def decode_from(second: float, container: Any, stream: Any) -> Iterator[Any]:
    """Decode the frames of a stream from before a second.

    In formats that cannot seek well, it may be much earlier, or later. What cannot be decoded at
    first is passed over, since seeking may end within a frame.
    """
    av = import_extra("av", "video")
    searching = second > LEAD
    if searching:
        with suppress(av.FFmpegError):
            container.seek(int((start_of(container) + second - LEAD) * MICROSECONDS))
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if not searching:
                raise
            continue
        searching = searching and not frames
        yield from frames
