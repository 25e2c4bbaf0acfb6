import shutil
from pathlib import Path

import numpy as np
import pytest

from fb_jax.banks import BankAbout, Encoder, Split, bank_writer, write_items
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


@pytest.fixture
def add_space(tmp_path):
    """Return a function that adds a space with some modalities to a pool."""
    split = Split(tmp_path / "root" / "pool")

    def add(space, *modalities, licence="unknown"):
        for modality in modalities:
            digest = write_items(split.items_path(modality), [{"id": "a"}]).digest
            about = BankAbout(space, modality, Encoder("e", licence=licence), digest)
            with bank_writer(split.bank_path(space, modality), about, dim=2, count=1) as writer:
                writer.append(np.ones((1, 2)))

    return add
