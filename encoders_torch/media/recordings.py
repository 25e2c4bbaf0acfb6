"""Reads recordings, as samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from encoders_torch.explain import explained
from encoders_torch.media.limits import MAX_SAMPLES, limit, require_at_most
from encoders_torch.media.medium import Media, as_media
from fb_jax.errors import FreeBindError

SAMPLES_PER_BYTE = 10_000
"""No recording holds more: FLAC, of silence, stores about 6,000 in a byte."""

BLOCK = 1 << 16
"""Samples of each channel that are read at once where the length is unknown."""


def read_audio(item: Media | Path | str, rate: int) -> Float32[np.ndarray, " samples"]:
    """Read a recording: the mean of its channels, resampled.

    Args:
        item: A file that libsndfile reads.
        rate: Samples a second of the result.

    Returns:
        Samples, from -1 to 1 for integer formats.

    Raises:
        FreeBindError: See ``read_channels``.
    """
    return resample(*read_mono(item), rate)


def read_mono(item: Media | Path | str) -> tuple[Float32[np.ndarray, " samples"], int]:
    """Read the mean of a recording's channels; return it with its samples a second."""
    samples, rate = read_channels(item)
    return samples.mean(axis=1), rate


def resample(
    samples: Float32[np.ndarray, " n"], rate: int, to: int
) -> Float32[np.ndarray, " samples"]:
    """Return a recording at another rate."""
    return samples if rate == to else soxr.resample(samples, rate, to)


def read_channels(
    item: Media | Path | str, max_samples: int | None = None
) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read a recording with all channels; of a truncated file, as much as libsndfile finds.

    A header that tells no length, or an impossible one, is not believed: see ``SAMPLES_PER_BYTE``.

    Args:
        item: A file that libsndfile reads.
        max_samples: Limit over all channels; None takes ``FREEBIND_MAX_SAMPLES``.

    Returns:
        Samples, from -1 to 1 for integer formats, and how many there are a second.

    Raises:
        FreeBindError: It is missing, unreadable, empty, too long, or holds NaN or infinity.
    """
    media, most = as_media(item), limit(MAX_SAMPLES, max_samples)
    with (
        media.open() as opened,
        explained("a recording cannot be read", where=media),
        _Forwards(str(media.path) if media.data is None else opened) as file,
    ):
        samples, rate = _read_samples(file, media, most), file.samplerate
    if not len(samples) or not np.isfinite(samples).all():
        got = "NaN or infinity" if len(samples) else "no samples"
        raise FreeBindError("a recording holds no sound", where=media, got=got)
    return samples, rate


class _Forwards(soundfile.SoundFile):
    """A recording that is read from its start to its end: not all formats can seek."""

    def seekable(self) -> bool:
        return False


def _read_samples(
    file: _Forwards, media: Media, most: int
) -> Float32[np.ndarray, "samples channels"]:
    """Read all samples of an opened file."""
    if (claimed := file.frames * file.channels) <= SAMPLES_PER_BYTE * media.size:
        require_at_most(MAX_SAMPLES, most, claimed, media)
        return file.read(file.frames, "float32", always_2d=True)
    blocks, count = [np.zeros((0, file.channels), np.float32)], 0
    while len(block := file.read(BLOCK, "float32", always_2d=True)):
        blocks.append(block)
        count += block.size
        require_at_most(MAX_SAMPLES, most, count, media)
    return np.concatenate(blocks)
