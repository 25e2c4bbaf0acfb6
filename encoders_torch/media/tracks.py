"""Reads the sound tracks of videos, and of sounds that libsndfile does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32

from encoders_torch.media.containers import (
    decode_from,
    duration_of,
    open_container,
    start_of,
    stream_of,
)
from encoders_torch.media.limits import MAX_SAMPLES, require_at_most
from encoders_torch.media.medium import Media
from encoders_torch.media.segments import past_the_end
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra


def read_track(
    media: Media, most: int, refused: Exception
) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read the sound of an item, or of its segment.

    Whole tracks are read from their first sample to their last. Segments follow the time stamps of
    the container, which some formats, such as Matroska, round to milliseconds.

    Args:
        media: The item.
        most: Limit of samples over all channels.
        refused: See ``open_container``.

    Returns:
        Samples from -1 to 1, and how many there are a second.

    Raises:
        FreeBindError: It has no sound, cannot be decoded, is too long, or ends before its segment.
    """
    with open_container(media, refused) as container:
        stream = stream_of(container, "audio", media)
        begin = 0.0 if _guesses_times(container) else media.start
        frames = _float_frames(decode_from(begin, container, stream))
        blocks, count = [np.zeros((0, stream.channels), np.float32)], 0
        rates: set[int] = set()
        for rate, block in _blocks(frames, start_of(container), media):
            rates.add(rate)
            blocks.append(block)
            count += block.size
            require_at_most(MAX_SAMPLES, most, count, media)
        if not count and media.part:
            raise past_the_end(media, duration_of(container))
    if len(rates) > 1:
        raise FreeBindError("the sampling rate of a sound changes", where=media, got=sorted(rates))
    return np.concatenate(blocks), rates.pop() if rates else stream.rate


def _guesses_times(container: Any) -> bool:
    """Whether a raw stream has no time stamps: after a seek they would be guesses."""
    av = import_extra("av", "video")
    return bool(container.format.flags & av.format.Flags.generic_index.value)


def _float_frames(frames: Iterator[Any]) -> Iterator[Any]:
    """Turn sound of any format into floats from -1 to 1, one row a channel."""
    av = import_extra("av", "video")
    resampler = av.AudioResampler(format="fltp")
    for frame in frames:
        yield from resampler.resample(frame)


def _blocks(
    frames: Iterator[Any], origin: float, media: Media
) -> Iterator[tuple[int, Float32[np.ndarray, "samples channels"]]]:
    """Cut decoded sound to what counts; return it in blocks, each with its samples a second.

    Args:
        frames: Decoded sound.
        origin: Time stamp of second 0.
        media: Says what counts.
    """
    position = 0
    for frame in frames:
        first, last = media.span(frame.rate)
        if position <= first and frame.time is not None:  # the first ones after a seek may be wrong
            position = round((frame.time - origin) * frame.rate)
        if last is not None and position >= last:
            return
        begin = max(first - position, 0) if media.part else 0
        end = None if last is None else last - position
        yield frame.rate, frame.to_ndarray().T[begin:end]
        position += frame.samples
