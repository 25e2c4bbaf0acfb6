import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.media import Media, MediaOptions, read_channels, read_image
from fb_jax.errors import FreeBindError
from tests.encoders_torch.media.videos import FPS, RATE, SIDE, shown, tone, write_video

KINDS = {
    "x.mp4": {},
    "x.mov": {},
    "x.mkv": {},
    "x.ts": {},
    "x.webm": {"video": "libvpx", "audio": "libopus"},
    "x.avi": {"video": "mpeg4", "audio": "libmp3lame"},
    "x.mpg": {"video": "mpeg2video", "audio": "mp2"},
    "x.flv": {"video": "flv"},
    "live.mkv": {"live": "1"},  # its header has no duration
}
SOUNDS = {
    "x.m4a": {},
    "lossless.m4a": {"audio": "alac"},
    "x.mka": {"container": "matroska"},
    "x.aac": {"container": "adts"},
    "x.ac3": {"audio": "ac3"},
    "x.wv": {"audio": "wavpack"},
}
EXACT = ("mp4", "mov", "m4a", "aac", "ac3", "wv", "ts", "avi", "mpg")
"""Formats whose time stamps are exact to a sample; others round to a millisecond."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, codecs in KINDS.items():
        write_video(folder / name, **codecs)
    for name, codecs in SOUNDS.items():
        write_video(folder / name, video=None, **codecs)
    write_video(folder / "silent.mp4", audio=None)
    return folder


def frame_at(path, second, **part):
    return shown(read_image(Media(path, **part, options=MediaOptions(frame_at=second))))


def loudest_shift(found, wanted):
    """Return by how many samples a recording is late."""
    short = wanted[RATE : 2 * RATE]
    return int(np.correlate(found[RATE - 3000 : 2 * RATE + 3000], short).argmax()) - 3000


@pytest.mark.parametrize("name", [*KINDS, *SOUNDS])
def test_the_sound_of_a_video_is_heard_whole(videos, name):
    found, rate = read_channels(videos / name)
    assert (rate, found.dtype, found.shape[1]) == (RATE, np.float32, 1)
    late = loudest_shift(found[:, 0], tone())
    assert 0 <= late < 1200  # what codecs put in front, where the container does not say it
    wanted = tone()[100:-2000]
    error = found[100 + late : len(wanted) + 100 + late, 0] - wanted
    assert np.sqrt(np.mean(error**2)) < 0.03


@pytest.mark.parametrize("name", [*KINDS, *SOUNDS])
@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.5), (0.5, 1.25), (2.03, 3.0), (3.0, None)])
def test_a_segment_is_the_part_of_the_whole(videos, name, start, stop):
    whole, _ = read_channels(videos / name)
    found, _ = read_channels(Media(videos / name, start=start, stop=stop))
    wanted = whole[round(start * RATE) : None if stop is None else round(stop * RATE)]
    late = 0 if name.split(".")[1] in EXACT else RATE // 1000
    assert abs(len(found) - len(wanted)) <= late
    length = min(len(found), len(wanted)) - late
    errors = [np.abs(found[i : i + length] - wanted[:length]).max() for i in range(late + 1)]
    errors += [np.abs(wanted[i : i + length] - found[:length]).max() for i in range(late + 1)]
    assert min(errors) < 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_is_the_one_that_is_shown_at_a_second(videos, name):
    early = 1 if name in ("x.avi", "x.mpg", "x.ts", "x.flv") else 0  # the sound starts before
    for frame in (0, 1, 11, 12, 25, 39):  # at and between the frames that hold a whole picture
        assert frame - early <= frame_at(videos / name, (frame + 0.5) / FPS) <= frame, frame
    assert 20 - early <= shown(read_image(videos / name)) <= 20


def test_a_frame_is_shown_from_its_time_to_the_next_one(videos):
    seconds = {0.0: 0, 0.0999: 0, 0.1: 1, 1.1999: 11, 1.2: 12, 3.9: 39, 3.9999: 39}
    assert {second: frame_at(videos / "x.mp4", second) for second in seconds} == seconds


@pytest.mark.parametrize("name", KINDS)
def test_seeking_finds_what_decoding_from_the_start_finds(videos, monkeypatch, name):
    seconds = (0.05, 1.3, 2.125, 2.6, 3.85)
    sought = [frame_at(videos / name, second) for second in seconds]
    monkeypatch.setattr("encoders_torch.media.frames.STEPS_BACK", (float("inf"),))
    assert [frame_at(videos / name, second) for second in seconds] == sought


def test_seconds_count_from_the_start_of_a_segment(videos):
    part = {"start": 1.0, "stop": 3.0}
    assert frame_at(videos / "x.mp4", None, **part) == 20
    assert frame_at(videos / "x.mp4", None, start=3.0) == 35
    assert frame_at(videos / "x.mp4", None, start=3.0, stop=100.0) == 35
    assert frame_at(videos / "x.mp4", 0.5, **part) == 15


@pytest.mark.parametrize(
    ("second", "part", "lasts"),
    [
        (4.1, {}, "it lasts 4"),
        (3.1, {"start": 1.0}, "the segment lasts 3"),
        (0.0, {"start": 9.0}, "it lasts 4"),
    ],
)
def test_a_frame_after_the_end_says_how_long_the_video_is(videos, second, part, lasts):
    with pytest.raises(FreeBindError, match=rf"ends before(.|\n)*x\.mp4(.|\n)*{lasts}"):
        frame_at(videos / "x.mp4", second, **part)


def test_a_frame_after_the_end_of_its_segment_is_refused(videos):
    with pytest.raises(
        FreeBindError, match=r"ends before(.|\n)*x\.mp4#t=1,2\n.* the segment lasts 1 s"
    ):
        frame_at(videos / "x.mp4", 1.0, start=1.0, stop=2.0)


def test_a_segment_after_the_end_of_the_sound_is_refused(videos):
    with pytest.raises(FreeBindError, match=r"ends before(.|\n)*x\.mp4#t=30,40(.|\n)*it lasts 4"):
        read_channels(Media(videos / "x.mp4", start=30.0, stop=40.0))


@pytest.mark.parametrize("name", KINDS)
def test_bytes_of_a_video_are_read_as_its_file(videos, name):
    held = Media(Path("held"), data=(videos / name).read_bytes())
    assert np.array_equal(read_channels(held)[0], read_channels(videos / name)[0])
    assert read_image(held) == read_image(videos / name)


def test_what_is_not_in_a_video_is_told(videos):
    with pytest.raises(FreeBindError, match=r"a video has no sound\s+where: +.*silent.mp4"):
        read_channels(videos / "silent.mp4")
    with pytest.raises(FreeBindError, match=r"a video has no picture\s+where: +.*x.m4a"):
        read_image(videos / "x.m4a")


def test_limits_hold_for_videos(videos):
    assert read_image(videos / "x.mp4", max_pixels=SIDE**2).size == (SIDE, SIDE)
    with pytest.raises(FreeBindError, match=r"too large(.|\n)*at most 4,095"):
        read_image(videos / "x.mp4", max_pixels=SIDE**2 - 1)
    with pytest.raises(FreeBindError, match=r"too large(.|\n)*at most 1,000"):
        read_channels(videos / "x.mp4", max_samples=1000)
    assert (
        len(read_channels(Media(videos / "x.mp4", start=3.0, stop=3.01), max_samples=480)[0]) == 480
    )


def test_a_video_is_turned_only_if_its_options_say_so(videos, tmp_path):
    content = bytearray((videos / "silent.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44
    quarter = [0, 1, 0, -1, 0, 0]  # clockwise, as a telephone held upright writes it
    content[matrix : matrix + 24] = b"".join(
        (v << 16).to_bytes(4, "big", signed=True) for v in quarter
    )
    (tmp_path / "x.mp4").write_bytes(content)
    plain = read_image(tmp_path / "x.mp4")
    assert plain == read_image(videos / "silent.mp4")
    turned = read_image(Media(tmp_path / "x.mp4", options=MediaOptions(turn=True)))
    assert turned == plain.transpose(Image.Transpose.ROTATE_270)
    assert (
        turned.getpixel((SIDE - 9, 9))[0] < turned.getpixel((9, 9))[0]
    )  # its dark half was on top


def test_the_suffix_does_not_matter(videos, tmp_path):
    (tmp_path / "x.wav").write_bytes((videos / "x.mp4").read_bytes())
    assert len(read_channels(tmp_path / "x.wav")[0]) > 3 * RATE
    soundfile.write(tmp_path / "x.mp4", tone(), RATE, format="WAV")
    np.testing.assert_allclose(read_channels(tmp_path / "x.mp4")[0][:, 0], tone(), atol=1e-4)


def test_without_pyav_videos_name_the_extra_that_reads_them(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "x.wav").write_bytes(b"<html>404</html>")
    for read, name in ((read_channels, "x.m4a"), (read_channels, "x.mp4"), (read_image, "x.mp4")):
        with pytest.raises(
            FreeBindError, match=rf"where: +.*{name}\s+fix: .*freebind-jax\[video\]"
        ):
            read(videos / name)
    with pytest.raises(FreeBindError, match="Format not recognised"):
        read_channels(tmp_path / "x.wav")


def test_a_video_opens_no_other_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "x.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/pipe.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "y.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/pipe.ts'\n")
    for name in ("x.mp4", "y.mp4", "pipe.ts"):
        for read in (read_channels, read_image):
            with pytest.raises(FreeBindError, match=r"cannot be read|named pipe"):
                read(tmp_path / name)
