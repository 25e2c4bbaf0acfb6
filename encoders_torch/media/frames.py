"""Reads a frame of a video as a picture."""

from __future__ import annotations

from typing import Any

from PIL import Image

from encoders_torch.media.containers import (
    decode_from,
    duration_of,
    open_container,
    start_of,
    stream_of,
)
from encoders_torch.media.limits import MAX_PIXELS, require_at_most
from encoders_torch.media.medium import Media
from encoders_torch.media.segments import past_the_end
from fb_jax.errors import FreeBindError

STEPS_BACK = (0.0, 10.0, float("inf"))
"""Seconds before a frame at which decoding starts: some formats cannot seek exactly."""


def read_frame(media: Media, most: int, refused: Exception) -> Image.Image:
    """Read the frame that a video shows at the second that its options say, or in its middle.

    Args:
        media: The video. Of a segment, the options' second counts from its start.
        most: Limit of pixels.
        refused: See ``open_container``.

    Raises:
        FreeBindError: It has no picture, cannot be decoded, is too large, or ends before.
    """
    for back in STEPS_BACK:
        with open_container(media, refused) as container:
            stream = stream_of(container, "video", media)
            require_at_most(MAX_PIXELS, most, stream.width * stream.height, media)
            duration = duration_of(container) or _demuxed_duration(media, refused)
            second = _second(media, duration)
            frame = _shown_at(second, container, stream, max(second - back, 0.0))
            if frame is not None:
                require_at_most(MAX_PIXELS, most, frame.width * frame.height, media)
                image: Image.Image = frame.to_image(threads=1)
                turn = frame.rotation if media.options.turn else 0
                return image.rotate(turn, expand=True)
    raise FreeBindError("a video has no picture", where=media)


def _demuxed_duration(media: Media, refused: Exception) -> float:
    """Return the seconds of a video whose header does not say them: until its last packet ends."""
    with open_container(media, refused) as container:
        packets = container.demux(stream_of(container, "video", media))
        ends = [_end(packet) for packet in packets if packet.pts is not None]
        return max(ends, default=0.0) - start_of(container)


def _end(packet: Any) -> float:
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _second(media: Media, duration: float) -> float:
    """Return the second of the file at which the frame is taken."""
    stop = duration if media.stop is None else min(media.stop, duration)
    at = media.options.frame_at
    second = (media.start + stop) / 2 if at is None else media.start + at
    if media.start >= stop:
        raise past_the_end(media, duration)
    if second >= stop:
        raise past_the_end(media, stop - media.start, "the segment" if media.part else "it")
    return second


def _shown_at(second: float, container: Any, stream: Any, begin: float) -> Any | None:
    """Return the last frame that starts at or before a second; None if decoding began after it.

    If the first frame of all is later, it is that one. The last frame is shown to the end.
    """
    shown = None
    for frame in decode_from(begin, container, stream):
        if frame.time is None:
            continue
        if frame.time - start_of(container) > second:
            return frame if shown is None and not begin else shown
        shown = frame
    return shown
