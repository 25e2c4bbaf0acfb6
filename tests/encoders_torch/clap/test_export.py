import importlib.util
import shutil

import numpy as np
import pytest

from encoders_torch.export import main
from fb_jax.banks import Split, open_banks, verify_split


@pytest.fixture
def media(tmp_path, recordings):
    (tmp_path / "audio").mkdir()
    for path in recordings:
        (tmp_path / "audio" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "audio/broken.wav").write_bytes(b"RIFF")
    (tmp_path / "captions.txt").write_text("the dog\n\na dog barks\n")
    return tmp_path


@pytest.fixture
def export(invoke, media, offline):
    """Export recordings and, unless told otherwise, captions."""

    def export(space, weights, *args, text=True):
        sources = ["--audio", media / "audio", *["--text", media / "captions.txt"] * text]
        rest = ["--weights", weights, "--out", media / "banks", "--device", "cpu", *sources, *args]
        return invoke(main, "--space", space, *rest)

    return export


def test_recordings_alone_need_no_tokenizer_and_captions_are_told_first(export, media, checkpoints):
    alone = shutil.copy(checkpoints["clap_music"], media / "clap.pt")
    done = export("clap_music", alone)
    assert done.status == 2
    assert done.err.startswith("error: RoBERTa's tokenizer is missing\n")
    assert not (media / "banks").exists()
    assert export("clap_music", alone, text=False).status == 0


@pytest.mark.skipif(importlib.util.find_spec("laion_clap") is not None, reason="it is here")
def test_the_backend_is_what_the_option_says(export, media, checkpoints):
    """That it makes the same banks is shown where laion_clap can be installed: parity/clap.py."""
    done = export("clap_music", checkpoints["clap_music"], "--backend", "laion_clap")
    assert done.status == 2
    assert done.err.startswith("error: laion_clap cannot be used\n")
    assert not (media / "banks").exists()


@pytest.mark.parametrize("space", ["clap_general", "clap_music"])
def test_recordings_and_captions_become_banks(
    export, media, checkpoints, recordings, space, request
):
    done = export(space, checkpoints[space], "--dtype", "float32", "--batch", "3")
    assert (done.status, done.err) == (0, "")
    assert "left out: broken.wav: a recording cannot be read" in done.out
    assert "left out: 1: the caption is empty" in done.out
    verify_split(Split(media / "banks" / "pool"))
    banks = open_banks(media / "banks", spaces=[space])
    assert {m: len(kept) for m, kept in banks.rows.items()} == {"audio": len(recordings), "text": 2}
    encoder = request.getfixturevalue(space.removeprefix("clap_"))
    wanted = encoder.rows("audio", [encoder.read("audio", path) for path in recordings])
    found = banks[space, "audio"][:]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
