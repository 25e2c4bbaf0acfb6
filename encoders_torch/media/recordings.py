"""Reads recordings, as samples."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from encoders_torch.explain import explained
from encoders_torch.media.containers import LEAD
from encoders_torch.media.lengths import with_unknown_length
from encoders_torch.media.limits import MAX_SAMPLES, limit, require_at_most
from encoders_torch.media.medium import Content, Media, as_media
from encoders_torch.media.segments import past_the_end
from encoders_torch.media.tracks import read_track
from fb_jax.errors import FreeBindError

SAMPLES_PER_BYTE = 10_000
"""No recording holds more: FLAC, of silence, stores about 6,000 in a byte."""

BLOCK = 1 << 16
"""Samples of each channel that are read at once where the length is unknown."""

BYTES_PER_SAMPLE = 8
"""The most that a sample takes in a file."""

UNKNOWN = (1, 4)
"""libsndfile's errors for formats and encodings that it does not know (sndfile.h)."""


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
        item: A file that libsndfile reads or, if the extra ``video`` is installed, FFmpeg.
        max_samples: Limit over all channels; None takes ``FREEBIND_MAX_SAMPLES``.

    Returns:
        Samples, read-only, from -1 to 1 for integer formats, and how many there are a second.

    Raises:
        FreeBindError: It is missing, unreadable, empty, too long, or holds NaN or infinity, or it
            ends before the segment that counts.
    """
    media, most = as_media(item), limit(MAX_SAMPLES, max_samples)
    samples, rate = media.once(("sound", most), lambda: _decode(media, most))
    return samples, rate


def _decode(media: Media, most: int) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    with media.open() as opened, explained("a recording cannot be read", where=media):
        samples, rate = _read(media, opened, most)
    if not len(samples) or not np.isfinite(samples).all():
        got = "NaN or infinity" if len(samples) else "no samples"
        raise FreeBindError("a recording holds no sound", where=media, got=got)
    samples.flags.writeable = False  # other encoders get the same array
    return samples, rate


def _read(
    media: Media, opened: Content, most: int
) -> tuple[Float32[np.ndarray, "samples channels"], int]:
    """Read a recording with libsndfile, or else with FFmpeg."""
    try:
        with _Forwards(str(media.path) if media.data is None else _Held(media.data)) as file:
            if file.frames or not (mended := _mended(media, opened, most)):
                return _read_samples(file, media, most), file.samplerate
    except soundfile.LibsndfileError as error:
        error.prefix = ""  # a path, or an address in memory
        if error.code not in UNKNOWN:
            raise
        return read_track(media, most, error)
    with _Forwards(_Held(mended)) as file:
        return _read_samples(file, media, most), file.samplerate


def _mended(media: Media, opened: Content, most: int) -> bytes | None:
    """Return the content of an unfinished WAV file, so that its samples can be read."""
    require_at_most(MAX_SAMPLES, most, media.size // BYTES_PER_SAMPLE, media)
    opened.seek(0)
    return with_unknown_length(opened.read())


class _Held(BytesIO):
    """Bytes that stay where they are if a damaged header sends the reader somewhere else."""

    def seek(self, offset: int, whence: int = 0) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


class _Forwards(soundfile.SoundFile):
    """A recording that soundfile does not rewind while it reads: not all formats can seek."""

    @property
    def can_seek(self) -> bool:
        return super().seekable()

    def seekable(self) -> bool:
        return False


def _read_samples(
    file: _Forwards, media: Media, most: int
) -> Float32[np.ndarray, "samples channels"]:
    """Read the samples of an opened file that count."""
    first, last = media.span(file.samplerate)
    known = file.frames * file.channels <= SAMPLES_PER_BYTE * media.size
    end = min(sys.maxsize if last is None else last, file.frames if known else sys.maxsize)
    wanted = max(end - first, 0)
    skipped = _skip(file, first, seek=known and file.can_seek)
    if known:
        require_at_most(MAX_SAMPLES, most, wanted * file.channels, media)
        samples = file.read(wanted, "float32", always_2d=True)
    else:
        samples = _read_blocks(file, media, most, wanted)
    if not len(samples) and media.part:
        cut_off = known and skipped < file.frames  # then nobody knows where
        raise past_the_end(media, None if cut_off else skipped / file.samplerate)
    return samples


def _skip(file: _Forwards, count: int, *, seek: bool) -> int:
    """Pass over samples of each channel; return how many there were."""
    begin = min(count, file.frames) - round(LEAD * file.samplerate)
    skipped = file.seek(begin) if seek and begin > 0 else 0
    while skipped < count and (found := len(_block(file, count - skipped))):
        skipped += found
    return skipped


def _read_blocks(
    file: _Forwards, media: Media, most: int, wanted: int
) -> Float32[np.ndarray, "samples channels"]:
    """Read up to so many samples of each channel of a file whose length is unknown."""
    blocks, count = [np.zeros((0, file.channels), np.float32)], 0
    while count < wanted and len(block := _block(file, wanted - count)):
        blocks.append(block)
        count += len(block)
        require_at_most(MAX_SAMPLES, most, count * file.channels, media)
    return np.concatenate(blocks)


def _block(file: _Forwards, most: int) -> Float32[np.ndarray, "samples channels"]:
    return file.read(min(BLOCK, most), "float32", always_2d=True)
