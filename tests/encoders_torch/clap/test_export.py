import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fb_jax.banks import Split, open_banks, verify_split

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def media(tmp_path, recordings):
    (tmp_path / "audio").mkdir()
    for path in recordings:
        (tmp_path / "audio" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "audio/broken.wav").write_bytes(b"RIFF")
    (tmp_path / "captions.txt").write_text("the dog\n\na dog barks\n")
    return tmp_path


def export(media, space, weights, *args, text=True):
    command = [sys.executable, "-m", "encoders_torch.export", "--space", space]
    sources = ["--audio", media / "audio", *["--text", media / "captions.txt"] * text]
    rest = ["--weights", weights, "--out", media / "banks", "--device", "cpu", *sources, *args]
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, rest)],
        cwd=REPOSITORY,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )


def test_recordings_alone_need_no_tokenizer_and_captions_are_told_first(media, checkpoints):
    alone = shutil.copy(checkpoints["clap_music"], media / "clap.pt")
    done = export(media, "clap_music", alone)
    assert done.returncode == 2
    assert done.stderr.startswith("error: RoBERTa's tokenizer is missing\n")
    assert not (media / "banks").exists()
    assert export(media, "clap_music", alone, text=False).returncode == 0


@pytest.mark.skipif(importlib.util.find_spec("laion_clap") is not None, reason="it is here")
def test_the_backend_is_what_the_option_says(media, checkpoints):
    """That it makes the same banks is shown where laion_clap can be installed: parity/clap.py."""
    done = export(media, "clap_music", checkpoints["clap_music"], "--backend", "laion_clap")
    assert done.returncode == 2
    assert done.stderr.startswith("error: laion_clap cannot be used\n")
    assert not (media / "banks").exists()


@pytest.mark.parametrize("space", ["clap_general", "clap_music"])
def test_recordings_and_captions_become_banks(media, checkpoints, recordings, space, request):
    done = export(media, space, checkpoints[space], "--dtype", "float32", "--batch", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out: broken.wav: a recording cannot be read" in done.stdout
    assert "left out: 1: the caption is empty" in done.stdout
    verify_split(Split(media / "banks" / "pool"))
    banks = open_banks(media / "banks", spaces=[space])
    assert {m: len(kept) for m, kept in banks.rows.items()} == {"audio": len(recordings), "text": 2}
    encoder = request.getfixturevalue(space.removeprefix("clap_"))
    wanted = encoder.encode("audio", [encoder.read("audio", path) for path in recordings])
    found = banks[space, "audio"][:]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
