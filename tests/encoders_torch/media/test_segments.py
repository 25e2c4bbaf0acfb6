from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from encoders_torch.media import Media, read_channels, segment_of
from fb_jax.errors import FreeBindError

RATE = 1000
RAMP = np.arange(10 * RATE) / (10 * RATE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.mp4", ("a.mp4", 0, None)),
        ("a.mp4#t=30,40", ("a.mp4", 30, 40)),
        ("a.mp4#t=30", ("a.mp4", 30, None)),
        ("a.mp4#t=,40.5", ("a.mp4", 0, 40.5)),
        ("a.mp4#t=npt:1.25,2", ("a.mp4", 1.25, 2)),
        ("a.mp4#t=01:30,1:00:00", ("a.mp4", 90, 3600)),
        ("a#b.mp4#t=1,2", ("a#b.mp4", 1, 2)),
        ("a#t=1.mp3", ("a#t=1.mp3", 0, None)),
        ("a#t=1,2#t=3,4", ("a#t=1,2", 3, 4)),
        ("a.mp4#t=", ("a.mp4#t=", 0, None)),
        ("a.mp4#t=,", ("a.mp4#t=,", 0, None)),
        ("a.mp4#t=-1,2", ("a.mp4#t=-1,2", 0, None)),
        ("a.mp4#t=1,2,3", ("a.mp4#t=1,2,3", 0, None)),
        ("#t=1,2", ("#t=1,2", 0, None)),
        ("", ("", 0, None)),
    ],
)
def test_a_segment_is_what_the_end_of_a_path_says(text, expected):
    assert segment_of(text) == expected


MILLISECONDS = st.integers(0, 10**8)


@given(st.text(min_size=1), MILLISECONDS, MILLISECONDS | st.none())
def test_a_segment_is_written_as_it_is_read(name, start, length):
    start, stop = start / 1000, None if length is None else (start + length + 1) / 1000
    name = str(Path("folder") / name.replace("\0", ""))
    media = Media(Path(name), start=start, stop=stop)
    if media.part:
        assert segment_of(str(media)) == (name, start, stop)


@pytest.mark.parametrize(
    ("start", "stop"), [(4.0, 4.0), (4.0, 3.0), (-1.0, 2.0), (float("nan"), 2.0)]
)
def test_a_segment_without_a_length_is_refused(start, stop):
    with pytest.raises(FreeBindError, match=r"a segment is empty\s+where: +x.wav#t="):
        Media(Path("x.wav"), start=start, stop=stop)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize(
    ("start", "stop", "first", "last"),
    [
        (2.0, 3.5, 2000, 3500),
        (9.0, None, 9000, 10_000),
        (0.0, 0.25, 0, 250),
        (9.5, 20.0, 9500, 10_000),
        (1.0, 1.00001, 1000, 1001),
        (0.0, 0.00001, 0, 1),
    ],
)
def test_of_a_recording_only_the_segment_is_read(tmp_path, suffix, start, stop, first, last):
    path = tmp_path / f"ramp.{suffix}"
    soundfile.write(path, RAMP, RATE, "PCM_24")
    found, rate = read_channels(Media(path, start=start, stop=stop), max_samples=last - first)
    assert rate == RATE
    np.testing.assert_allclose(found[:, 0], RAMP[first:last], atol=1e-6)


def test_a_segment_of_a_recording_whose_length_is_unknown(tmp_path):
    path = Path(__file__).parent / "bad_media/unknown_length.flac"
    whole, rate = read_channels(path)
    found, _ = read_channels(Media(path, start=0.25, stop=0.5))
    assert np.array_equal(found, whole[rate // 4 : rate // 2])
    with pytest.raises(FreeBindError, match=r"ends before(.|\n)*it lasts 1 s"):
        read_channels(Media(path, start=2.0))


def test_a_segment_after_the_end_says_how_long_the_recording_is(tmp_path):
    soundfile.write(tmp_path / "x.wav", RAMP, RATE)
    with pytest.raises(FreeBindError, match=r"ends before(.|\n)*x.wav#t=10,12\n.*it lasts 10 s"):
        read_channels(Media(tmp_path / "x.wav", start=10.0, stop=12.0))


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_a_segment_far_inside_is_exact_whatever_came_before(tmp_path, suffix):
    """Loud and silent seconds take turns, so that decoders carry much over from one to the next."""
    path, rate = tmp_path / f"x.{suffix}", 44100
    loudness = np.repeat(np.tile([0, 0.5, 0.01], 7), rate)
    soundfile.write(path, loudness * np.random.default_rng(0).uniform(-1, 1, len(loudness)), rate)
    if suffix == "mp3":
        path.write_bytes(path.read_bytes()[:-20_000])  # so that its header says another length
    whole, _ = read_channels(path)
    for start in np.arange(2, 17, 0.5).tolist():
        part, _ = read_channels(Media(path, start=start, stop=start + 0.5))
        wanted = whole[round(start * rate) : round((start + 0.5) * rate)]
        np.testing.assert_allclose(part, wanted, atol=1e-6)
