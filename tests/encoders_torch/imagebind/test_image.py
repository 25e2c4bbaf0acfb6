import numpy as np
import pytest
import torch
from PIL import Image

from encoders_torch.imagebind.image import DEVIATION, MEAN, normalised, read_pixels
from encoders_torch.media import Media, MediaOptions
from fb_jax.errors import FreeBindError


def noise(width, height):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def test_pixels_are_the_released_code_s_bit_for_bit(goldens, items):
    found = np.stack([read_pixels(path) for path in items["image"]])
    assert found.dtype == np.uint8
    assert np.array_equal(normalised(torch.from_numpy(found)).numpy(), goldens["image.input"])


def test_normalised_pixels_are_numpys_bit_for_bit():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    mean, deviation = (np.float32(values)[:, None, None] for values in (MEAN, DEVIATION))
    wanted = (pixels.astype(np.float32) / np.float32(255) - mean) / deviation
    assert np.array_equal(normalised(torch.from_numpy(pixels)).numpy(), wanted)


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (3, 2), (224, 224), (225, 224), (500, 223)])
def test_any_size_becomes_a_square(tmp_path, size):
    noise(*size).save(tmp_path / "picture.png")
    found = read_pixels(tmp_path / "picture.png")
    assert found.shape == (3, 224, 224)


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "LA", "L", "1", "I;16"])
def test_any_colours_become_rgb(tmp_path, mode):
    grey = Image.fromarray(np.full((224, 224), 51, np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(np.full((224, 224), 51 * 257, np.uint16))
    else:
        picture = (grey if mode in {"L", "LA", "1"} else grey.convert("RGB")).convert(mode)
    picture.save(tmp_path / "picture.tif")
    assert read_pixels(tmp_path / "picture.tif").mean() == pytest.approx(51, abs=1)


def test_a_picture_is_turned_as_its_exif_says_if_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture = noise(224, 224)
    picture.save(tmp_path / "upright.png")
    picture.save(tmp_path / "turned.png", exif=exif)
    upright, stored = (read_pixels(tmp_path / f"{n}.png") for n in ("upright", "turned"))
    turned = read_pixels(Media(tmp_path / "turned.png", options=MediaOptions(turn=True)))
    assert np.array_equal(stored, upright)
    assert np.array_equal(turned, upright[:, ::-1, ::-1])


def test_a_truncated_picture_is_refused(tmp_path):
    noise(64, 64).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:6000])
    with pytest.raises(FreeBindError, match=r"cannot be read(.|\n)*half\.png"):
        read_pixels(tmp_path / "half.png")


def test_a_line_is_refused_before_it_is_resized(tmp_path):
    Image.new("RGB", (60000, 1)).save(tmp_path / "line.png")
    with pytest.raises(FreeBindError, match=r"too narrow(.|\n)*line\.png(.|\n)*60000 x 1"):
        read_pixels(tmp_path / "line.png")
