import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fb_jax.banks import Split, open_banks, verify_split

REPOSITORY = Path(__file__).parents[2]
ENCODER = "tests.encoders_torch.conftest:Toy"


def command(*args):
    return [sys.executable, "-m", "encoders_torch.export", *map(str, args)]


@pytest.fixture
def export(media):
    """Run the command as a user would, from the repository."""

    def export(*args, **options):
        return subprocess.run(
            command(*args), cwd=REPOSITORY, capture_output=True, text=True, **options
        )

    return export


@pytest.fixture
def everything(media, tmp_path):
    sources = ("--audio", media / "audio", "--image", media / "image", "--text", media / "text.txt")
    return ("--encoder", ENCODER, "--space", "toy", "--out", tmp_path / "banks", *sources)


def test_media_become_banks_that_other_commands_read(export, everything, tmp_path):
    done = export(*everything)
    assert (done.returncode, done.stderr) == (0, "")
    for modality in ("audio", "image", "text"):
        assert f"toy/{modality}: 5 done in " in done.stdout
    assert "time: read " in done.stdout
    banks = open_banks(tmp_path / "banks", spaces=["toy"])
    assert {m: len(rows) for m, rows in banks.rows.items()} == {"audio": 5, "image": 5, "text": 5}
    verify_split(Split(tmp_path / "banks" / "pool"))


def test_a_bad_file_is_told_and_the_rest_kept(export, everything, media, tmp_path):
    (media / "image/bad.png").write_bytes(b"no picture")
    done = export(*everything)
    assert done.returncode == 0
    assert "left out: bad.png: a picture cannot be read" in done.stdout
    assert "1 left out in all: " in done.stdout
    assert len(open_banks(tmp_path / "banks", spaces=["toy"]).rows["image"]) == 5


def test_strict_ends_with_an_error(export, everything, media):
    (media / "image/bad.png").write_bytes(b"no picture")
    done = export(*everything, "--strict")
    assert done.returncode == 2
    assert done.stderr.startswith("error: an item failed\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--space", "toy"), "nothing to encode"),
        (("--space", "toy", "--text", "no.txt"), "a list cannot be read"),
        (("--space", "no_such_space", "--text", "constraints.txt"), "no encoder 'no_such_space'"),
        (("--space", "no/space", "--text", "constraints.txt"), "'no/space' cannot name a space"),
        (("--space", "toy", "--source", "depth"), "--source needs to say whose(.|\n)*NAME=VALUE"),
        (("--space", "toy", "--text", "constraints.txt", "--shard-id", "1"), "no such --shard-id"),
        (("--space", "toy", "--text", "constraints.txt", "--batch", "0"), "batch must be positive"),
    ],
)
def test_what_cannot_be_exported_is_told_without_a_traceback(export, tmp_path, args, says):
    done = export(*args, "--out", tmp_path / "banks")
    assert done.returncode == 2
    assert re.search(says, done.stderr)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "banks").exists()


def test_a_killed_export_goes_on_to_the_same_bytes(everything, media, tmp_path, contents):
    lines = "".join(f"{'e' * (i % 9)}word\n" for i in range(3000))
    (media / "text.txt").write_text(lines)
    args = (*everything[:-4], *everything[-2:], "--batch", "1", "--shard-rows", "50")
    process = subprocess.Popen(command(*args), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    bank = tmp_path / "banks/pool/embeddings/toy/text"
    while not (bank / "emb_00002.npy").exists():
        assert process.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (bank / "manifest.json").exists()
    subprocess.run(command(*args), cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    killed = contents(bank)
    (tmp_path / "banks").rename(tmp_path / "killed")
    subprocess.run(command(*args), cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    assert contents(bank) == killed
