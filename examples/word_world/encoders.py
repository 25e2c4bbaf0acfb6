"""The word world's encoders, in the interface that the export command takes from any user.

    python -m encoders_torch.export --encoder examples.word_world.encoders:WordEncoder \\
        --weights SPACE.safetensors ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from encoders_torch.media import Media, read_audio, read_image
from encoders_torch.torch_encoder import TorchEncoder
from examples.word_world.pictures import HEIGHT, WIDTH
from examples.word_world.recipe import MAX_LETTERS, SpaceRecipe
from examples.word_world.towers import Tower
from fb_jax import files
from fb_jax.errors import FreeBindError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SAMPLE_RATE = 22_050  # the rate of espeak-ng
FRAMES, BANDS, WINDOW, HOP = 72, 40, 512, 256  # 0.84 s
LOWEST_HZ, HIGHEST_HZ = 60.0, 8_000.0
LICENCE = "Apache-2.0"

SHAPES = {"audio": (FRAMES, BANDS), "image": (WIDTH, HEIGHT), "text": (MAX_LETTERS, len(LETTERS))}
PATCHES = {"audio": 2, "image": 3, "text": 1}


def read_text(word: str | Path | Media) -> Float32[np.ndarray, "12 26"]:
    """Return a word's letters, one-hot.

    Raises:
        FreeBindError: It is not a word of 1 to ``MAX_LETTERS`` lower-case letters.
    """
    letters = [LETTERS.find(letter) for letter in str(word)]
    if not 1 <= len(letters) <= MAX_LETTERS or min(letters) < 0:
        raise FreeBindError(
            "the word world encodes words only",
            expected=f"1 to {MAX_LETTERS} letters a-z",
            got=repr(str(word)[:40]),
        )
    one_hot = np.zeros(SHAPES["text"], np.float32)
    one_hot[np.arange(len(letters)), letters] = 1
    return one_hot


def read_picture(
    item: str | Path | Media, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Float32[np.ndarray, "width height"]:
    """Return the columns of a picture, shifted to zero mean and scaled to unit deviation."""
    pixels = np.asarray(read_image(item, "L").resize(size), np.float32).T
    return (pixels - pixels.mean()) / (pixels.std() + 1)


def read_speech(item: str | Path | Media, frames: int = FRAMES) -> Float32[np.ndarray, "frames 40"]:
    """Return log-mel frames of a recording, cut or padded, shifted to zero mean."""
    samples = WINDOW + HOP * (frames - 1)
    wave = read_audio(item, SAMPLE_RATE)[:samples]
    wave = np.pad(wave, (0, samples - len(wave)))
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW))) ** 2
    log_mel = np.log(power @ mel_filters() + 1e-3)
    return ((log_mel - log_mel.mean()) / 3).astype(np.float32)


@cache
def mel_filters() -> Float32[np.ndarray, "bins bands"]:
    """Return triangular filters, evenly spaced in mel, over the bins of the spectrum."""
    mel = lambda hz: 2595 * np.log10(1 + hz / 700)  # noqa: E731
    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), BANDS + 2)
    bins = mel(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.minimum(rise, fall).clip(0).astype(np.float32)


Readers = Mapping[str, Callable[[Any], np.ndarray]]
READERS: Readers = {"audio": read_speech, "image": read_picture, "text": read_text}


class WordEncoder(TorchEncoder):
    """The encoder of one space, in the interface of ``encoders_torch.export``.

    Args:
        weights: File from ``save``.
        device: Device of torch.

    Attributes:
        world: Name of the world.
        shapes: Modality to rows and columns of an item's features.
        patches: Modality to the number of rows that a tower's first layer joins into one.
        readers: Modality to the function that reads an item's features.
    """

    world: ClassVar[str] = "word-world"
    shapes: ClassVar[Mapping[str, tuple[int, int]]] = SHAPES
    patches: ClassVar[Mapping[str, int]] = PATCHES
    readers: ClassVar[Readers] = READERS

    @classmethod
    def towers(cls, modalities: Sequence[str], dim: int, width: int) -> nn.ModuleDict:
        """Return the towers of a space, with random weights."""
        return nn.ModuleDict(
            {m: Tower(*cls.shapes[m], cls.patches[m], dim, width) for m in modalities}
        )

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        with safe_open(weights, framework="pt") as file:
            about = json.loads(file.metadata()["word_world"])
        dim, modalities = about["dim"], about["modalities"]
        towers = self.towers(modalities, dim, about["width"])
        towers.load_state_dict(load_file(weights))
        super().__init__(
            towers,
            device=device,
            name=about["name"],
            dim=dim,
            modalities=modalities,
            weights_sha256=files.sha256_of(weights),
            licence=LICENCE,
        )

    @classmethod
    def save(cls, path: Path, towers: nn.ModuleDict, name: str, recipe: SpaceRecipe) -> None:
        """Write the weights of towers, and the space and the world that they belong to."""
        about = {
            "name": f"{cls.world} {name}: small conv towers that play the part of {recipe.plays}",
            "dim": recipe.dim,
            "width": recipe.width,
            "modalities": recipe.modalities,
        }
        partial = path.with_suffix(".partial")
        save_file(towers.state_dict(), partial, {"word_world": json.dumps(about)})
        partial.rename(path)

    def tower(self, modality: str) -> nn.Module:
        """Return the tower of a modality; it turns a batch of features into unit rows."""
        return self.model[modality]

    def read(self, modality: str, item: str | Path | Media) -> Float32[np.ndarray, "t f"]:
        """Return one item's features."""
        return self.readers[modality](item)

    def forward(self, modality: str, batch: Float32[Tensor, "b t f"]) -> Float32[Tensor, "b d"]:
        """Return unit rows."""
        return self.model[modality](batch)
