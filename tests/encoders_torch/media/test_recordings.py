import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.media import Media, read_audio, read_channels, read_image
from encoders_torch.sources import open_source
from fb_jax.errors import FreeBindError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_pixels():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    return image


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "RGBA"])
def test_colours_of_any_mode_become_rgb(tmp_path, mode):
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    two_pixels().convert(mode).save(path)
    found = read_image(path)
    assert (found.mode, found.size) == ("RGB", (2, 1))
    assert np.abs(np.asarray(found, int) - np.asarray(two_pixels(), int)).max() <= 1


def test_of_a_moving_picture_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif").getpixel((0, 0)) == RED


def tone(rate, seconds=0.5):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)


def test_a_recording_is_the_mean_of_its_channels(tmp_path):
    left = tone(16000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, 0 * left], axis=1), 16000)
    np.testing.assert_allclose(read_audio(tmp_path / "stereo.wav", 16000), left / 2, atol=1e-4)


def test_channels_and_rate_can_be_had_as_they_are(tmp_path):
    wanted = np.stack([tone(22050), 0 * tone(22050)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", wanted, 22050, subtype="FLOAT")
    found, rate = read_channels(tmp_path / "stereo.wav")
    assert (found.dtype, rate) == (np.float32, 22050)
    assert np.array_equal(found, wanted.astype(np.float32))


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_recording_is_resampled(tmp_path, rate, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(rate), rate)
    found = read_audio(path, 16000)
    assert found.dtype == np.float32
    assert len(found) == pytest.approx(8000, abs=1)
    middle = slice(500, 7500)
    np.testing.assert_allclose(found[middle], tone(16000)[middle], atol=2e-3)


# What is unusual about pictures


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_and_not_cut_off(tmp_path, suffix):
    values = np.uint16([[0, 255, 256, 32768, 65535]])
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    found = np.asarray(read_image(tmp_path / f"deep.{suffix}"))
    assert found[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_what_is_transparent_shows_the_colour_underneath(tmp_path):
    Image.new("RGBA", (1, 1), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").getpixel((0, 0)) == (10, 20, 30)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=b"\x00\x80")
    found = read_image(tmp_path / "p.png")
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [RED, BLUE]


def write_png(path, width, height):
    """A black picture of one bit a pixel, without holding it."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    pack = zlib.compressobj()
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_the_bound_of_pixels_can_be_set(tmp_path, monkeypatch):
    write_png(tmp_path / "large.png", 12_000, 8_000)  # Pillow would warn
    assert read_image(tmp_path / "large.png", "L").size == (12_000, 8_000)
    with pytest.raises(FreeBindError, match="at most 100 "):
        read_image(tmp_path / "large.png", max_pixels=100)
    monkeypatch.setenv("FREEBIND_MAX_PIXELS", "1000")
    with pytest.raises(FreeBindError, match=r"at most 1,000 \(FREEBIND_MAX_PIXELS\)"):
        read_image(tmp_path / "large.png")


# All kinds


def test_what_pillow_writes_and_reads_is_found_and_read(tmp_path):
    Image.init()
    both = Image.SAVE.keys() & Image.OPEN.keys() - {"EPS", "IM"}  # Ghostscript; on its way out
    kinds = [end for end, name in Image.registered_extensions().items() if name in both]
    picture = Image.effect_noise((64, 64), 50)
    written = {f"x{end}" for end in kinds if saved(picture, tmp_path / f"x{end}")}
    assert len(written) > 30
    assert {item["path"] for item in open_source("image", tmp_path).items} == written
    for name in written:
        assert read_image(tmp_path / name).mode == "RGB", name


def saved(picture, path):
    for mode in ("L", "RGB", "1"):
        try:
            picture.convert(mode).save(path)
        except (OSError, ValueError):  # no such colours, or nothing is there to write it
            path.unlink(missing_ok=True)
        else:
            return True
    return False


KINDS = [(f, s) for f in soundfile.available_formats() for s in soundfile.available_subtypes(f)]


@pytest.mark.parametrize(("kind", "coding"), [kind for kind in KINDS if kind[0] != "RAW"])
def test_what_soundfile_reads_is_found_and_read(tmp_path, kind, coding):
    path = tmp_path / f"x.{kind.lower()}"
    try:
        soundfile.write(path, tone(16000), 16000, coding, format=kind)
        wanted, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        pytest.skip(str(error))
    assert [item["path"] for item in open_source("audio", tmp_path).items] == [path.name]
    found, own = read_channels(path)
    assert own == rate
    np.testing.assert_allclose(found, wanted, atol=1e-6)  # MP3 by another seek
    if kind != "SD2":  # its header is in a second file
        held, _ = read_channels(Media(Path("x"), data=path.read_bytes()))
        np.testing.assert_array_equal(held, found)
    part, _ = read_channels(Media(path, start=0.1, stop=0.3))
    np.testing.assert_allclose(part, found[round(0.1 * rate) : round(0.3 * rate)], atol=1e-6)


# What is unusual about recordings


def test_a_recording_that_is_too_long_is_refused_before_it_is_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", np.zeros((5000, 2)), 16000)
    assert read_channels(tmp_path / "long.wav")[0].shape == (5000, 2)
    with pytest.raises(FreeBindError, match=r"too large(.|\n)*at most 9,999(.|\n)*10,000"):
        read_channels(tmp_path / "long.wav", max_samples=9999)
    monkeypatch.setenv("FREEBIND_MAX_SAMPLES", "10")
    with pytest.raises(FreeBindError, match=r"at most 10 \(FREEBIND_MAX_SAMPLES\)"):
        read_audio(tmp_path / "long.wav", 16000)
