"""Orientation, and the pictures of telephones."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, features

from encoders_torch.media import Media, MediaOptions, read_image
from fb_jax.errors import FreeBindError

TURN = MediaOptions(turn=True)
ORIENTATION = 0x0112
RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves():
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    return image


def colours(picture):
    """Return the colours near two corners, as the nearest of red and blue."""
    corners = [(4, 4), (picture.width - 5, picture.height - 5)]
    return [
        "red" if picture.getpixel(at)[0] > picture.getpixel(at)[2] else "blue" for at in corners
    ]


def exif(orientation):
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes()


PLAIN = ["png", "jpg", "webp", "mpo", "avif"]


def saved(path, data):
    halves().save(path, exif=data, **({"save_all": True} if path.suffix == ".mpo" else {}))
    return Media(path)


@pytest.mark.parametrize("suffix", PLAIN)
def test_a_picture_is_turned_only_if_its_options_say_so(tmp_path, suffix):
    media = saved(tmp_path / f"x.{suffix}", exif(8))  # to be turned a quarter to the left
    assert read_image(media).size == (64, 32)
    turned = read_image(dataclasses.replace(media, options=TURN))
    assert (turned.size, colours(turned)) == ((32, 64), ["blue", "red"])


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"not exif", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
@pytest.mark.parametrize("options", [MediaOptions(), TURN])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "mpo"])
def test_exif_that_cannot_be_read_counts_as_none(tmp_path, suffix, options, data):
    media = saved(tmp_path / f"x.{suffix}", data if suffix == "png" else b"Exif\0\0" + data)
    picture = read_image(dataclasses.replace(media, options=options))
    assert (picture.size, colours(picture)) == ((64, 32), ["red", "blue"])


def test_options_say_what_they_change():
    assert MediaOptions().describe() == ""
    assert "turned" in TURN.describe()
    assert MediaOptions(frame_at=5.0).describe() == ", frame at 5 s"
    late = MediaOptions(frame_at=1234.567)  # other frames have another name
    assert MediaOptions.described(f"clip{late.describe()}") == late


@pytest.mark.parametrize("second", [-1.0, float("nan"), float("inf")])
def test_a_second_that_no_video_has_is_refused_before_work(second):
    with pytest.raises(
        FreeBindError, match=r"no video has such a frame\n(.|\n)*got: +(-1|nan|inf)"
    ):
        MediaOptions(frame_at=second)


# HEIF and AVIF


@pytest.fixture
def heic(tmp_path):
    pillow_heif.from_pillow(halves()).save(tmp_path / "x.heic", quality=90)
    return tmp_path / "x.heic"


def test_pictures_of_telephones_are_read(heic):
    for item in (heic, Media(Path("held"), data=heic.read_bytes())):
        assert colours(read_image(item)) == ["red", "blue"]
    np.testing.assert_allclose(np.asarray(read_image(heic), int), np.asarray(halves()), atol=40)


def test_heif_is_upright_since_its_format_says_so(tmp_path):
    pillow_heif.from_pillow(halves()).save(tmp_path / "x.heic", exif=exif(8))
    for options in (MediaOptions(), TURN):
        picture = read_image(Media(tmp_path / "x.heic", options=options))
        assert (picture.size, colours(picture)) == ((32, 64), ["blue", "red"])


def test_limits_hold_for_heif(heic):
    with pytest.raises(FreeBindError, match=r"too large(.|\n)*at most 2,047"):
        read_image(heic, max_pixels=2047)


@pytest.mark.parametrize("without", [["pillow_heif"], ["pillow_heif", "av"]])
def test_without_pillow_heif_the_extra_is_named(heic, monkeypatch, without):
    for module in without:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FreeBindError, match=rf"where: +{heic}\s+fix: .*freebind-jax\[heif\]"):
        read_image(heic)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read_and_half_of_it_is_no_video(tmp_path):
    halves().save(tmp_path / "x.avif")
    assert colours(read_image(tmp_path / "x.avif")) == ["red", "blue"]
    content = (tmp_path / "x.avif").read_bytes()
    (tmp_path / "x.avif").write_bytes(content[: len(content) // 2])
    with pytest.raises(FreeBindError, match="a picture cannot be read"):
        read_image(tmp_path / "x.avif")
