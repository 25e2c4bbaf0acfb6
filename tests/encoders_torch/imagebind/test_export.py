"""End to end, as a user would type it."""

import shutil

import numpy as np
import pytest
import soundfile

from encoders_torch.export import main
from fb_jax import files
from fb_jax.banks import Split, open_banks, verify_split


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


@pytest.fixture
def export(invoke, folder):
    def export(*args):
        where = ("--out", folder / "banks", "--text", folder / "captions.txt")
        media = ("--audio", folder / "audio", "--image", folder / "image")
        return invoke(main, "--space", "imagebind", *where, *media, *args)

    return export


def rows_in_order(modality, goldens, items):
    """The released code's embeddings in the order in which an export has the items."""
    rows = goldens[f"{modality}.output"]
    if modality != "text":
        rows = rows[sorted(range(len(rows)), key=lambda i: items[modality][i].name)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_media_become_the_released_code_s_embeddings(export, folder, weights, goldens, items):
    done = export("--weights", weights, "--dtype", "float32", "--device", "cpu")
    assert (done.status, done.err) == (0, "")
    for failed in (
        "a_click.wav: a recording is too short",
        "empty.wav: a recording holds no sound",
        "picture.jpg: a picture cannot be read",
        "7: the caption is empty",
    ):
        assert f"left out: {failed}" in done.out
    verify_split(Split(folder / "banks/pool"))
    banks = open_banks(folder / "banks", spaces=["imagebind"])
    for modality in ("audio", "image", "text"):
        bank, wanted = banks["imagebind", modality], rows_in_order(modality, goldens, items)
        np.testing.assert_allclose(bank[:], wanted, rtol=0, atol=2e-5)
        assert bank.encoder.licence == "CC-BY-NC-SA-4.0 (ImageBind weights)"
        assert bank.encoder.weights_sha256 == files.sha256_of(weights)


def test_missing_weights_are_told_without_a_traceback(export, folder):
    done = export("--weights", folder / "imagebind_huge.pth")
    assert done.status == 2
    assert "the weights of imagebind are missing" in done.err
    assert not (folder / "banks").exists()
