"""Recordings whose header hides their length, as programs write them into a pipe."""

import struct

import numpy as np
import pytest
import soundfile

from encoders_torch.media import Media, read_channels
from fb_jax.errors import FreeBindError

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2)).astype(np.float32)
HEADER = 44
UNKNOWN = 0xFFFFFFFF


def with_lengths(path, riff, data):
    """A WAV file that says other lengths than it has."""
    soundfile.write(path, SOUND, 8000)
    content = bytearray(path.read_bytes())
    content[4:8], content[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(content)


@pytest.mark.parametrize("riff", [0, UNKNOWN, HEADER - 8, 0x7FFFF024])
@pytest.mark.parametrize("data", [0, UNKNOWN, 0x7FFFF000])
def test_an_unfinished_wav_is_read_to_its_end(tmp_path, riff, data):
    path = tmp_path / "x.wav"
    with_lengths(path, riff, data)
    for media in (Media(path), Media(path, data=path.read_bytes())):
        np.testing.assert_allclose(read_channels(media)[0], SOUND, atol=1e-4)
    part, _ = read_channels(Media(path, start=0.1, stop=0.2))
    np.testing.assert_allclose(part, SOUND[800:1600], atol=1e-4)


def test_tags_behind_no_samples_are_not_heard(tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND[:0], 8000)
    content = bytearray((tmp_path / "x.wav").read_bytes() + b"LIST\x08\0\0\0INFOISFT")
    content[4:8] = struct.pack("<I", len(content) - 8)
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(FreeBindError, match="no samples"):
        read_channels(tmp_path / "x.wav")


def test_an_unfinished_wav_that_is_too_long_is_refused(tmp_path):
    with_lengths(tmp_path / "x.wav", 0, 0)
    with pytest.raises(FreeBindError, match=r"too large(.|\n)*at most 7,999"):
        read_channels(tmp_path / "x.wav", max_samples=7_999)


@pytest.mark.parametrize(
    ("kind", "at", "behind", "size"),
    [("AU", b".snd", 8, 4), ("W64", b"data", 16, 8), ("AIFF", b"SSND", 4, 4)],
)
def test_other_formats_that_hide_their_length_are_read_whole(tmp_path, kind, at, behind, size):
    soundfile.write(tmp_path / "x", SOUND, 8000, format=kind)
    content = bytearray((tmp_path / "x").read_bytes())
    place = content.index(at) + behind
    content[place : place + size] = b"\xff" * size
    (tmp_path / "x").write_bytes(content)
    np.testing.assert_allclose(read_channels(tmp_path / "x")[0], SOUND, atol=1e-4)
