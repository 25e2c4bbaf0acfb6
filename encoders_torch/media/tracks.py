"""Reads the sound tracks of videos, and of sounds that libsndfile does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32

from encoders_torch.media.containers import (
    MICROSECONDS,
    decode_from,
    open_container,
    start_of,
    stream_of,
)
from encoders_torch.media.limits import MAX_SAMPLES, require_at_most
from encoders_torch.media.medium import Media
from encoders_torch.media.segments import past_the_end
from fb_jax.extras import import_extra

LEAD = 1.0
"""Seconds before a segment that are decoded and dropped: decoders need what came before."""


def read_track(
    media: Media, most: int, refused: Exception
) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read the sound of an item, or of its segment.

    Whole tracks are read from their first sample to their last; segments by the time stamps of the
    container, which are exact to a millisecond in Matroska and to a sample in MP4.

    Args:
        media: The item.
        most: Limit of samples over all channels.
        refused: See ``open_container``.

    Raises:
        FreeBindError: It has no sound, cannot be decoded, is too long, or ends before its segment.
    """
    with open_container(media, refused) as container:
        stream = stream_of(container, "audio", media)
        begin = 0.0 if _guesses_times(container) else max(media.start - LEAD, 0.0)
        frames = _float_frames(decode_from(begin, container, stream))
        blocks, count = [np.zeros((0, stream.channels), np.float32)], 0
        for block in _blocks(frames, start_of(container), media):
            blocks.append(block)
            count += block.size
            require_at_most(MAX_SAMPLES, most, count, media)
        if not count and media.part:
            raise past_the_end(media, (container.duration or 0) / MICROSECONDS)
        return np.concatenate(blocks), stream.rate


def _guesses_times(container: Any) -> bool:
    """Whether a raw stream has no time stamps: after a seek they would be guesses."""
    av = import_extra("av", "video")
    return bool(container.format.flags & av.format.Flags.generic_index.value)


def _blocks(
    frames: Iterator[Any], origin: float, media: Media
) -> Iterator[Float32[np.ndarray, "samples channels"]]:
    """Cut decoded sound to what counts, block by block.

    Args:
        frames: Decoded sound.
        origin: Time stamp of second 0.
        media: Says what counts.
    """
    position = None
    for frame in frames:
        if position is None:
            seconds = 0.0 if frame.time is None else frame.time - origin
            position = round(seconds * frame.rate)
        first, last = media.span(frame.rate)
        if last is not None and position >= last:
            return
        begin = max(first - position, 0) if media.part else 0
        end = None if last is None else last - position
        yield frame.to_ndarray().T[begin:end]
        position += frame.samples


def _float_frames(frames: Iterator[Any]) -> Iterator[Any]:
    """Turn sound of any format into floats from -1 to 1, one row a channel."""
    av = import_extra("av", "video")
    resampler = av.AudioResampler(format="fltp")
    for frame in frames:
        yield from resampler.resample(frame)
