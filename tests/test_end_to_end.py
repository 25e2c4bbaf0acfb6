"""From media to a table, as a user types it: tiny ImageBind and CLAP, real files, every command."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tiny.clap import write_clap

from fb_jax import files
from fb_jax.banks import open_banks

REPOSITORY = Path(__file__).parents[1]
IMAGEBIND = REPOSITORY / "tests/encoders_torch/fixtures/imagebind_tiny/weights.safetensors"
COUNTS = {"pool": 24, "test": 10}
FREEBIND = ("-c", "from fb_jax.cli.main import main; main()")
SMALL = "training: {batch: 8, epochs: 2, hidden: 16}"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """WAV, PNG and JPEG files and captions; those of ``test`` belong together by row."""
    folder, rng = tmp_path_factory.mktemp("media"), np.random.default_rng(0)
    for split, count in COUNTS.items():
        for kind in ("audio", "image"):
            (folder / split / kind).mkdir(parents=True)
        for i in range(count):
            tone = np.sin(np.arange(4000) * rng.uniform(0.01, 1)) * rng.uniform(0.1, 0.9)
            soundfile.write(folder / split / f"audio/{i:02d}.wav", tone, 16000)
            picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
            picture.save(folder / split / f"image/{i:02d}.{'png' if i % 2 else 'jpg'}")
        captions = [f"sound {i} of {split}" for i in range(count)]
        (folder / split / "captions.txt").write_text("\n".join(captions) + "\n")
        rows = "".join(f"{i},{i}\n" for i in range(count))
        (folder / split / "rows.csv").write_text(rows)
    (folder / "small.yaml").write_text(SMALL)
    return folder


@pytest.fixture(scope="module")
def run(media):
    """Run a program of the repository beside the media; it must succeed."""

    def run(*command):
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        extra = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=media,
            env=os.environ | extra,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_media_become_banks_pairs_a_bond_and_a_table(run, media):
    clap = write_clap(media / "clap", fused=True)
    weights = {"imagebind": IMAGEBIND, "clap_general": clap}
    for split in COUNTS:
        for space, file in weights.items():
            sources = ["--audio", f"{split}/audio", "--text", f"{split}/captions.txt"]
            if space == "imagebind":
                sources += ["--image", f"{split}/image"]
            export = ("-m", "encoders_torch.export", "--space", space, "--weights", file)
            run(*export, "--split", split, "--out", "banks", "--device", "cpu", *sources)
    for left, right in (("audio", "text"), ("audio", "image"), ("image", "text")):
        table = ("test/rows.csv", "--root", "banks", "--split", "test")
        run(*FREEBIND, "bank", "pairs", *table, "--left", left, "--right", right)

    bond = ("--bond", "combination", "--expert", "clap_general")
    options = ("--data", "banks", "--out", "run", "--config", "small.yaml")
    printed = run(REPOSITORY / "train.py", *bond, *options)
    assert "test: imagebind + clap_general" in printed

    again = run(REPOSITORY / "eval.py", "--run", "run", "--json", "again.json")
    assert "versatile" in again
    found = files.read_json(media / "again.json")
    assert found["retrieval"] == files.read_json(media / "run/metrics.json")["retrieval"]
    assert set(found["retrieval"]["test"]["versatile"]) == {
        "audio-image",
        "audio-text",
        "image-text",
    }
    banks = open_banks(media / "banks", spaces=tuple(weights))
    assert {m: len(rows) for m, rows in banks.rows.items()} == dict.fromkeys(
        ("audio", "image", "text"), COUNTS["pool"]
    )
