from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoders_torch.encoder import FrozenEncoder

RATE = 8000


class Toy(FrozenEncoder):
    """An encoder of 4-d: a word's letters, a picture's mean colour, a recording's loudness."""

    def __init__(self, weights=None, device="cpu", **about):
        about = {"name": "toy", "modalities": ("audio", "image", "text")} | about
        super().__init__(dim=4, weights_sha256="0" * 64, licence="CC0-1.0", **about)
        self.weights, self.device = weights, device

    def read(self, modality, item):
        from encoders_torch.media import read_audio, read_image

        if modality == "text":
            if "unreadable" in item:
                raise ValueError("not a caption")
            return np.float32([len(item), item.count("a"), item.count("e"), 1])
        if modality == "image":
            return np.float32([*np.asarray(read_image(item), np.float32).mean(axis=(0, 1)), 1])
        loudness = np.abs(read_audio(item, RATE)).mean()
        return np.float32([loudness, 1, 0, 0])

    def encode(self, modality, batch):
        rows = np.asarray(batch)
        if (rows[:, 0] == 13).any():
            raise RuntimeError("thirteen letters")
        return np.where(rows[:, :1] == 7, np.nan, rows)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache of the Hugging Face hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def media(tmp_path) -> Path:
    """A folder with five words, pictures and recordings, not made in the order of their names."""
    folder = tmp_path / "media"
    rng = np.random.default_rng(0)
    for kind in ("image/b", "image/a", "audio"):
        (folder / kind).mkdir(parents=True)
    (folder / "text.txt").write_text("one\ntwo\nthree\nfour and a\nfive\n")
    for i, where in enumerate(["b/2", "b/10", "a/9", "a/x", "0"]):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "image" / f"{where}.png")
        soundfile.write(folder / "audio" / f"{9 - i}.wav", rng.uniform(-1, 1, 800), RATE)
    (folder / "image/notes.md").write_text("no picture")
    return folder
