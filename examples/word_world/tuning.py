"""Tuning the audio encoder of the word world into internvl_ib: the paper's dagger products.

The pairs are those that imagebind was trained on, as ImageBind was trained on the AudioSet pairs
that the paper tunes on.

    OUT/seed-0/tuning/pairs/    bank root with the split ``tune``: recordings, pictures, pair table
    OUT/seed-0/tuning/tuned/    the tuned encoder
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from encoders_torch.media import Media
from encoders_torch.tensor_files import with_prefix
from encoders_torch.torch_encoder import TorchEncoder
from encoders_torch.tune import origin, require_fit
from encoders_torch.tuning.displacement import read_displacement
from encoders_torch.tuning.loop import Tuning
from encoders_torch.tuning.mixture import Mixture
from encoders_torch.tuning.model import TunedModel, read_tuned
from encoders_torch.tuning.pairs import open_pairs
from encoders_torch.tuning.settings import TuneRuntime, TuneSettings
from examples.word_world.corpus import media_name
from examples.word_world.encoders import WordEncoder
from examples.word_world.exports import export_media
from examples.word_world.recipe import Recipe
from fb_jax.banks import Split, open_banks
from fb_jax.fusion import FusedSpace, write_fused

PRODUCT, SPLIT, TUNED = "internvl_ib", "tune", "imagebind_tuned"
TUNE_FROM = ("imagebind", "internvl")
"""Spaces that the pictures are exported in: the product fuses them."""


class TunedWordEncoder(TorchEncoder):
    """The tuned audio encoder, in the interface of ``encoders_torch.export``.

    Args:
        weights: Folder of the tuned encoder, in the world whose imagebind it was tuned from.
        device: Device of torch.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        state, about = read_tuned(weights)
        encoder = WordEncoder(weights.parents[1] / "spaces/imagebind.safetensors", device)
        tuned = TunedModel(encoder.tower("audio"), Mixture.of(with_prefix(state, "mixture.")))
        tuned.load_state_dict(state)
        super().__init__(
            tuned,
            device=device,
            name=f"{encoder.name}, audio tuned into {about['space']['name']}",
            dim=tuned.mixture.dim,
            modalities=("audio",),
            weights_sha256=about["weights"]["sha256"],
            licence=encoder.licence,
        )
        self._encoder = encoder

    def read(self, modality: str, item: str | Path | Media) -> Float32[np.ndarray, "t f"]:
        """Return one recording's features."""
        return self._encoder.read(modality, item)

    def forward(self, modality: str, batch: Float32[Tensor, "b t f"]) -> Float32[Tensor, "b d"]:
        """Return unit rows in the space of the product."""
        return self.model(batch)


def make_pairs(folder: Path, recipe: Recipe) -> Path:
    """Export the pictures and recordings that the audio tower of imagebind was trained on.

    Args:
        folder: Folder of a world with corpus and spaces.
        recipe: Recipe of the world.

    Returns:
        The bank root.
    """
    root = folder / "tuning" / "pairs"
    fit = next(f for f in recipe.spaces["imagebind"].fits if "audio" in f.modalities)
    words = (folder / "corpus/train/words.txt").read_text().split()
    names = [media_name(i, words[i]) for i in range(*fit.words)]
    sounds = [f"{fit.domains[i % len(fit.domains)]}/{n}.wav" for i, n in enumerate(names)]
    lists = {"audio": sounds, "image": [f"image/{name}.png" for name in names]}
    train = folder / "corpus/train"
    paths = {m: _write_list(train / f"pairs-{m}.csv", media) for m, media in lists.items()}
    for space in TUNE_FROM:
        media = paths if space == "imagebind" else {"image": paths["image"]}
        weights = folder / "spaces" / f"{space}.safetensors"
        export_media(root, SPLIT, space, WordEncoder, weights, media)
    split = Split(root / SPLIT)
    if not split.pairs_path("audio", "image").exists():
        split.write_pairs("audio", "image", np.tile(np.arange(len(names))[:, None], (1, 2)))
    return root


def _write_list(path: Path, media: Sequence[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in media)])
    return path


def tune(folder: Path, recipe: Recipe) -> None:
    """Tune the audio encoder of a world into its internvl_ib.

    Args:
        folder: Folder of a world with products.
        recipe: Recipe of the world; a batch is half of its encoders' batch.
    """
    root, space = make_pairs(folder, recipe), folder / "runs" / PRODUCT / "space"
    settings = TuneSettings(batch=recipe.batch // 2)
    banks = open_banks(root, SPLIT, spaces=TUNE_FROM)
    write_fused(FusedSpace.load(space).plain, banks, root, PRODUCT)
    torch.set_num_threads(1)  # the matrices are small: two threads are slower than one
    displacement = read_displacement(space)
    pairs = open_pairs(root, SPLIT, PRODUCT, folder / "corpus/train")
    encoder = WordEncoder(folder / "spaces" / "imagebind.safetensors")
    require_fit(displacement, pairs, "imagebind", encoder.dim)
    encoder.read = cache(encoder.read)  # type: ignore[method-assign]  # every epoch
    model = TunedModel(encoder.tower("audio"), displacement.mixture)
    path = folder / "tuning" / "tuned"
    about = origin(displacement, encoder)
    Tuning(model, encoder, pairs, settings, path, about).run(TuneRuntime(workers=0))


def export_tuned(folder: Path, splits: Sequence[str]) -> None:
    """Export the rows of the tuned encoder into the banks of the world."""
    for split in splits:
        media = {"audio": folder / "corpus" / split / "audio"}
        weights = folder / "tuning/tuned"
        export_media(folder / "banks", split, TUNED, TunedWordEncoder, weights, media)
