"""Ray runs in a process of its own, whose warnings are not ours."""

import os
import signal
import sys
from pathlib import Path

import disturb
import pytest

from tests.encoders_torch.conftest import Toy

EXPORT = "-m", "encoders_torch.export"
LINES = "".join(f"{'e' * (i % 9)}word{i:03}\n" for i in range(100))


class Deadly(Toy):
    """Kills its process in the middle of shard 3: always if ``always`` is there, else once."""

    def encode(self, modality, batch):
        if 70 in batch[:, 3].tolist() and (Path("always").exists() or not Path("died").exists()):
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(modality, batch)

    def read(self, modality, item):
        features = super().read(modality, item)
        features[3] = int(item[-3:])
        return features


@pytest.fixture
def export(tmp_path):
    """Run the command in a folder with 100 captions; return its status, output and bank root."""
    (tmp_path / "text.txt").write_text(LINES)
    home = {"HOME": str(tmp_path / "home"), "RAY_USAGE_STATS_ENABLED": "0"}

    def export(name, *args, encoder="Toy"):
        place = "conftest" if encoder == "Toy" else "exporting.test_on_ray"
        what = ("--space", "toy", "--encoder", f"tests.encoders_torch.{place}:{encoder}")
        where = ("--text", "text.txt", "--out", name, "--batch", "3", "--shard-rows", "20")
        return disturb.run(*EXPORT, *what, *where, *args, cwd=tmp_path, env=home)

    return export


@pytest.mark.slow
def test_a_shard_whose_actor_is_killed_is_encoded_again(export, tmp_path, contents):
    (tmp_path / "always").touch()
    given_up = export("ray", "--ray", "local", encoder="Deadly")
    assert given_up.returncode == 2
    assert "\nerror: the process that encoded shard 3 died 4 times\n" in f"\n{given_up.stderr}"
    for name in ("always", "died"):
        (tmp_path / name).unlink()
    done = export("ray", "--ray", "local", "--ray-actors", "2", encoder="Deadly")
    assert done.returncode == 0, done.stderr
    assert "toy/text: 100 done" in done.stdout
    assert (tmp_path / "died").exists()
    assert export("here", encoder="Deadly").returncode == 0
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


@pytest.mark.slow
def test_an_item_that_fails_ends_a_strict_export_on_ray_too(export):
    failed = export("banks", "--ray", "local", "--strict")
    assert failed.returncode == 2
    assert "\nerror: an item failed\n" in f"\n{failed.stderr}"


@pytest.mark.skipif("ray" in sys.modules, reason="it must be missing")
def test_without_ray_the_extra_is_named(export, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(name='ray')")
    done = export("banks", "--ray", "local")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'freebind-jax[ray]'" in done.stderr
