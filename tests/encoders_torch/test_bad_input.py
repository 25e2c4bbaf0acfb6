"""One export of what people have lying about: a reason for each bad item, a row for the rest."""

import json
import re
import struct
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.export import ExportConfig, export
from fb_jax.banks import Bank, Split

ENCODER = "tests.encoders_torch.conftest:Toy"
RATE = 8000
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)

BAD = {
    "image": {
        "empty.png": "cannot be read",
        "huge.png": "too large .*400,000,000",
        "mislabelled.jpg": "cannot be read",
        "missing.png": "No such file",
        "truncated.png": "cannot be read",
    },
    "audio": {
        "empty.wav": "cannot be read",
        "infinite.wav": "no sound .*NaN or infinity",
        "mislabelled.flac": "cannot be read",
        "missing.wav": "cannot be read",
        "nan.wav": "no sound .*NaN or infinity",
        "truncated.ogg": "cannot be read|no sound",
        "zero_length.wav": "no sound .*no samples",
    },
    "text": {"blank.txt": "the caption is empty", "empty.txt": "the caption is empty"},
}
"""Items that must fail, and why."""

GOOD = {
    "image": [
        *("animated.gif", "cmyk.tif", "deep.png", "one_pixel.png", "palette.png"),
        *("png_named.jpg", "turned.jpg"),
    ],
    "audio": ["clip.wav", "flac_named.wav", "half.wav", "short.wav", "telephone.wav"],
    "text": ["long.txt", "plain.txt", "smileys.txt"],
}
CAPTIONS = {"long.txt": "word " * 100_000, "plain.txt": "a dog", "smileys.txt": "🐶 犬\u0301\x00"}


def write_pictures(folder):
    whole = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole.save(folder / "turned.jpg", exif=exif)
    whole.save(folder / "png_named.jpg", format="PNG")
    whole.convert("CMYK").save(folder / "cmyk.tif")
    whole.convert("P").save(folder / "palette.png")
    whole.save(folder / "animated.gif", save_all=True, append_images=[whole.rotate(90)])
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) << 8).save(folder / "deep.png")
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    (folder / "missing.png").symlink_to("nowhere.png")
    (folder / "empty.png").touch()
    (folder / "mislabelled.jpg").write_bytes(b"<html>404</html>")
    (folder / "truncated.png").write_bytes((folder / "png_named.jpg").read_bytes()[:2000])
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 0) + b"IDAT")


def write_recordings(folder):
    soundfile.write(folder / "clip.wav", SOUND, RATE)
    soundfile.write(folder / "short.wav", SOUND[:1], RATE)
    soundfile.write(folder / "telephone.wav", SOUND, RATE, "GSM610")
    soundfile.write(folder / "flac_named.wav", SOUND, RATE, format="FLAC")
    soundfile.write(folder / "truncated.ogg", SOUND, RATE)
    soundfile.write(folder / "zero_length.wav", SOUND[:0], RATE)
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        soundfile.write(folder / f"{name}.wav", [0.1, value], RATE, "FLOAT")
    for name, of, share in (("half.wav", "clip.wav", 0.5), ("truncated.ogg", "truncated.ogg", 0.1)):
        content = (folder / of).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])
    (folder / "missing.wav").symlink_to("nowhere.wav")
    (folder / "empty.wav").touch()
    (folder / "mislabelled.flac").write_bytes(b"<html>404</html>")


def write_captions(folder):
    texts = CAPTIONS | {"blank.txt": " \t", "empty.txt": ""}
    rows = [{"id": name, "caption": texts[name]} for name in sorted(texts)]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))


WRITE = {"image": write_pictures, "audio": write_recordings, "text": write_captions}


@pytest.mark.parametrize("modality", WRITE)
def test_every_bad_item_is_a_line_of_the_report_and_no_other(tmp_path, modality):
    given = tmp_path / "given"
    given.mkdir()
    WRITE[modality](given)
    source = {modality: given / "list.jsonl" if modality == "text" else given}
    export(ExportConfig(space=("toy",), encoder=(ENCODER,), out=tmp_path / "banks", **source))
    bank = Bank.open(Split(tmp_path / "banks/pool").bank_path("toy", modality))
    lines = (bank.folder / "failures.jsonl").read_text().splitlines()
    reasons = {line["id"]: line["reason"] for line in map(json.loads, lines)}
    assert reasons.keys() == BAD[modality].keys()
    for name, says in BAD[modality].items():
        assert re.search(says, reasons[name]), reasons[name]
    assert len(bank) - len(bank.missing) == len(GOOD[modality])
