"""What people have lying about: a reason for each item that cannot be used, a row for the rest."""

import json
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.export import export
from encoders_torch.export_config import ExportConfig
from encoders_torch.exporting.report import read_failures
from encoders_torch.media import read_channels, read_image
from fb_jax.banks import Bank, Split
from fb_jax.errors import FreeBindError

FOUND = Path(__file__).parent / "bad_media"
ENCODER = "tests.encoders_torch.conftest:Toy"
RATE = 8000
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)

PICTURES = {
    "animated.gif": (30, 40),
    "cmyk.tif": (30, 40),
    "deep.png": (30, 40),
    "malformed_exif.png": (8, 8),
    "one_pixel.webp": (1, 1),
    "palette.png": (30, 40),
    "png_named.jpg": (30, 40),
    "turned.jpg": (30, 40),
    "device.png": "no file, but a device",
    "empty.png": "cannot be read",
    "float.tif": "values is unknown .*8 or 16 bits",
    "huge.ico": "too large .*400,000,000",
    "huge.png": "too large .*400,000,000 .*=400000000",
    "mislabelled.jpg": "cannot be read",
    "missing.png": "is missing",
    "negative.tif": "values is unknown",
    "pipe.png": "no file, but a named pipe",
    "too_deep.tif": "values is unknown",
    "truncated.png": "cannot be read",
}
"""Size of a picture that can be read, or why it cannot."""

RECORDINGS = {
    "clip.wav": RATE,
    "flac_named.wav": RATE,
    "half.aiff": RATE / 2,
    "half.wav": RATE / 2,
    "huge_header.flac": RATE,
    "one_sample.wav": 1,
    "telephone.wav": RATE,
    "unknown_length.flac": 16_000,
    "device.wav": "no file, but a device",
    "empty.wav": "cannot be read",
    "infinite.wav": "no sound .*NaN or infinity",
    "mislabelled.flac": "cannot be read",
    "missing.wav": "is missing",
    "nan.wav": "no sound .*NaN or infinity",
    "pipe.wav": "no file, but a named pipe",
    "start.wav": "cannot be read",
    "truncated.flac": "cannot be read|no sound",
    "truncated.ogg": "cannot be read|no sound",
    "zero_length.wav": "no sound .*no samples",
}
"""Samples of a recording that can be read, roughly, or why it cannot."""

CAPTIONS = {
    "long": "word " * 100_000,
    "plain": "a dog",
    "smileys": "🐶 犬\u0301\x00",
    "blank": " \t",
    "empty": "",
    "null": None,
}


def write_anywhere(folder, suffix):
    """What is no file of any format."""
    (folder / f"missing{suffix}").symlink_to("nowhere")
    (folder / f"device{suffix}").symlink_to("/dev/zero")
    (folder / f"empty{suffix}").touch()
    os.mkfifo(folder / f"pipe{suffix}")


def cut(folder, name, of, share):
    content = (folder / of).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])


def write_pictures(folder):
    write_anywhere(folder, ".png")
    shutil.copy(FOUND / "malformed_exif.png", folder)
    whole = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole.save(folder / "turned.jpg", exif=exif)
    whole.save(folder / "png_named.jpg", format="PNG")
    whole.convert("CMYK").save(folder / "cmyk.tif")
    whole.convert("P").save(folder / "palette.png")
    whole.save(folder / "animated.gif", save_all=True, append_images=[whole.rotate(90)])
    for name, values in (
        ("deep.png", PIXELS[..., 0].astype(np.uint16) << 8),
        ("float.tif", np.float32([[0.5]])),
        ("negative.tif", np.int32([[-1]])),
        ("too_deep.tif", np.int32([[70_000]])),
    ):
        Image.fromarray(values).save(folder / name)
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.webp")
    (folder / "mislabelled.jpg").write_bytes(b"<html>404</html>")
    cut(folder, "truncated.png", "png_named.jpg", 0.5)
    (folder / "huge.png").write_bytes(huge_png())
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 24, len(huge_png()), 22)
    (folder / "huge.ico").write_bytes(icon + huge_png())


def huge_png():
    """A header that tells of 20,000 x 20,000 pixels, and none of them."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 0) + b"IDAT"


def write_recordings(folder):
    write_anywhere(folder, ".wav")
    shutil.copy(FOUND / "unknown_length.flac", folder)
    for name in ("clip.wav", "half.aiff", "huge_header.flac", "truncated.flac", "truncated.ogg"):
        soundfile.write(folder / name, SOUND, RATE)
    soundfile.write(folder / "one_sample.wav", SOUND[:1], RATE)
    soundfile.write(folder / "telephone.wav", SOUND, RATE, "GSM610")
    soundfile.write(folder / "flac_named.wav", SOUND, RATE, format="FLAC")
    soundfile.write(folder / "zero_length.wav", SOUND[:0], RATE)
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        soundfile.write(folder / f"{name}.wav", [0.1, value], RATE, "FLOAT")
    cut(folder, "half.wav", "clip.wav", 0.5)
    cut(folder, "half.aiff", "half.aiff", 0.5)
    cut(folder, "truncated.flac", "truncated.flac", 0.5)
    cut(folder, "truncated.ogg", "truncated.ogg", 0.1)
    (folder / "mislabelled.flac").write_bytes(b"<html>404</html>")
    (folder / "start.wav").write_bytes(b"RIFF")
    flac = bytearray((folder / "huge_header.flac").read_bytes())
    flac[21:26] = bytes([flac[21] | 15]) + b"\xff" * 4  # its 36 bits for the number of samples
    (folder / "huge_header.flac").write_bytes(flac)


def bank_of(tmp_path, modality, source):
    """Export a source; return the bank, and the reasons of the items that it lacks."""
    config = {"space": ("toy",), "encoder": (ENCODER,), "out": tmp_path / "banks"}
    export(ExportConfig(**config, **{modality: source}))
    bank = Bank.open(Split(tmp_path / "banks/pool").bank_path("toy", modality))
    return bank, {f.id: f.reason for f in read_failures(bank.folder / "failures.jsonl")}


@pytest.mark.parametrize(
    ("modality", "write", "expected"),
    [("image", write_pictures, PICTURES), ("audio", write_recordings, RECORDINGS)],
)
def test_every_bad_file_is_a_line_of_the_report_and_no_other(tmp_path, modality, write, expected):
    given = tmp_path / "given"
    given.mkdir()
    write(given)
    bank, reasons = bank_of(tmp_path, modality, given)
    wanted = {name: says for name, says in expected.items() if isinstance(says, str)}
    assert reasons.keys() == wanted.keys()
    for name, says in wanted.items():
        assert re.search(says, reasons[name]), reasons[name]
        with pytest.raises(FreeBindError, match=rf"where: +{given / name}"):
            (read_image if modality == "image" else read_channels)(given / name)
    assert len(bank) - len(bank.missing) == len(expected) - len(wanted)


def test_what_can_be_read_is_read_whole(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "audio").mkdir()
    write_recordings(tmp_path / "audio")
    for name, size in PICTURES.items():
        if not isinstance(size, str):
            assert read_image(tmp_path / name).size == size, name
    for name, count in RECORDINGS.items():
        if not isinstance(count, str):
            samples, _ = read_channels(tmp_path / "audio" / name)
            assert len(samples) == pytest.approx(count, rel=0.05), name


def test_captions_of_any_length_are_encoded_and_empty_ones_are_not(tmp_path):
    rows = [json.dumps({"id": name, "caption": text}) for name, text in CAPTIONS.items()]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    bank, reasons = bank_of(tmp_path, "text", tmp_path / "list.jsonl")
    assert reasons == dict.fromkeys(("blank", "empty", "null"), "the caption is empty")
    assert bank.missing.tolist() == [3, 4, 5]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_caption_that_is_null_is_no_reason_to_leave_out_others(tmp_path, suffix):
    bank, reasons = bank_of(tmp_path, "text", FOUND / f"null_captions.{suffix}")
    assert (len(bank), reasons) == (3, {"b": "the caption is empty"})


def test_paths_to_nothing_are_told_one_by_one(tmp_path):
    write_pictures(tmp_path)
    paths = ["turned.jpg", "gone.png", "", "pipe.png", "\0.png", "."]
    rows = [json.dumps({"id": str(i), "path": path}) for i, path in enumerate(paths)]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    _, reasons = bank_of(tmp_path, "image", tmp_path / "list.jsonl")
    says = ["is missing", "the path is empty", "a named pipe", "null byte", "a folder"]
    assert list(reasons) == ["1", "2", "3", "4", "5"]
    assert all(map(re.search, says, reasons.values())), reasons
