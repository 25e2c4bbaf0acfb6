"""End to end, as a user would type it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fb_jax.banks import Split, files, open_banks, verify_split

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path, items):
    """The goldens' media, and one of each kind that cannot be used."""
    for kind in ("audio", "image"):
        (tmp_path / kind).mkdir()
        for path in items[kind]:
            shutil.copy(path, tmp_path / kind / path.name)
    soundfile.write(tmp_path / "audio/a_click.wav", np.zeros(160), 16000)
    soundfile.write(tmp_path / "audio/empty.wav", np.zeros(0), 16000)
    (tmp_path / "image/picture.jpg").write_bytes(b"RIFF no picture")
    captions = [" ".join(text.split()) for text in items["text"]]
    (tmp_path / "captions.txt").write_text("\n".join([*captions, ""]) + "\n", encoding="utf-8")
    return tmp_path


def export(folder, *args):
    command = [sys.executable, "-m", "encoders_torch.export", "--space", "imagebind"]
    where = ("--out", folder / "banks", "--text", folder / "captions.txt")
    media = ("--audio", folder / "audio", "--image", folder / "image")
    command = [*command, *map(str, [*where, *media, *args])]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def rows_in_order(modality, goldens, items):
    """The released code's embeddings in the order in which an export has the items."""
    rows = goldens[f"{modality}.output"]
    if modality != "text":
        rows = rows[sorted(range(len(rows)), key=lambda i: items[modality][i].name)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_media_become_the_released_code_s_embeddings(folder, weights, goldens, items):
    done = export(folder, "--weights", weights, "--dtype", "float32", "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    for failed in (
        "a_click.wav: a recording is too short",
        "empty.wav: a recording holds no sound",
        "picture.jpg: a picture cannot be read",
        "7: the caption is empty",
    ):
        assert f"left out: {failed}" in done.stdout
    verify_split(Split(folder / "banks/pool"))
    banks = open_banks(folder / "banks", spaces=["imagebind"])
    for modality in ("audio", "image", "text"):
        bank, wanted = banks["imagebind", modality], rows_in_order(modality, goldens, items)
        np.testing.assert_allclose(bank[:], wanted, rtol=0, atol=1e-5)
        assert bank.encoder.licence == "CC-BY-NC-SA-4.0 (ImageBind weights)"
        assert bank.encoder.weights_sha256 == files.sha256_of(weights)


def test_missing_weights_are_told_without_a_traceback(folder):
    done = export(folder, "--weights", folder / "imagebind_huge.pth")
    assert done.returncode == 2
    assert "ImageBind's weights are missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "banks").exists()
