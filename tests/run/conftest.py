import shutil
from pathlib import Path

import pytest

from fb_jax.run import RunConfig
from fb_jax.training import Training


@pytest.fixture
def home(root, tmp_path) -> Path:
    """A bank root of one's own, to damage."""
    return shutil.copytree(root, tmp_path / "home")


@pytest.fixture
def config(home, tmp_path) -> RunConfig:
    """A small run that passes every check."""
    training = Training(batch=10, epochs=2, hidden=32)
    named = {"unified": "imagebind", "expert": "clap_general"}
    folders = {"data": home, "out": tmp_path / "run", "store": tmp_path / "pairs"}
    return RunConfig(**folders, **named, training=training)
