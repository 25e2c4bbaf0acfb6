"""Tuning the word world's audio encoder into internvl_ib: the dagger products, on words.

The pairs are those that imagebind itself was fitted on, as the paper's AudioSet pairs are among
those of ImageBind; the commands and the code are the ordinary ones.

    OUT/seed-0/tuning/pairs/    bank root with the split ``tune``: recordings, pictures, their table
    OUT/seed-0/tuning/tuned/    the tuned encoder

    python -m examples.word_world.tuning --world OUT/seed-0

tries other settings, on validation: OUT/seed-0/tuning.json.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float32

from encoders_torch.export import ExportConfig, export
from encoders_torch.pipeline import ExportSettings
from encoders_torch.tensor_files import with_prefix
from encoders_torch.tune import origin, require_fit
from encoders_torch.tuning.displacement import read_displacement
from encoders_torch.tuning.loop import Tuning
from encoders_torch.tuning.mixture import Mixture
from encoders_torch.tuning.model import TunedModel, read_tuned
from encoders_torch.tuning.pairs import open_pairs
from encoders_torch.tuning.settings import TuneRuntime, TuneSettings
from examples.word_world.corpus import media_name
from examples.word_world.encoders import WordEncoder
from examples.word_world.recipe import FULL, Recipe
from fb_jax.banks import Split, files, open_banks
from fb_jax.console import run_command
from fb_jax.evaluation.models import Tables, compare, fused_rows, pair_tables
from fb_jax.fusion import FusedSpace, write_fused

PRODUCT, SPLIT, TUNED = "internvl_ib", "tune", "imagebind_tuned"
VARIANTS: dict[str, tuple[dict[str, Any], bool]] = {
    "the default: cosine, learning rate 3e-5, batch 128": ({}, False),
    "InfoNCE in both directions": ({"objective": "symmetric"}, False),
    "InfoNCE from audio to image": ({"objective": "audio_to_image"}, False),
    "learning rate 3e-4": ({"learning_rate": 3e-4}, False),
    "learning rate 3e-6": ({"learning_rate": 3e-6}, False),
    "batch 32": ({"batch": 32}, False),
    "batch 512": ({"batch": 512}, False),
    "pairs that imagebind has not heard": ({}, True),
    "the same, InfoNCE in both directions": ({"objective": "symmetric"}, True),
}
"""What the tuning's open points are tried at: settings, and whether on fresh pairs."""

FRESH = (7_500, 16_000)
"""Training words whose recordings imagebind has not heard."""

TUNE_FROM = ("imagebind", "internvl")
"""The spaces of the pairs' pictures: what the product's are fused from."""


class TunedWordEncoder:
    """The tuned audio encoder, as ``encoders_torch.export`` takes it.

    Args:
        weights: Folder ``tuned/`` beside ``imagebind.safetensors`` of the same world.
        device: Of torch.
    """

    modalities: tuple[str, ...] = ("audio",)

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        state, about = read_tuned(weights)
        encoder = WordEncoder(weights.parents[1] / "spaces/imagebind.safetensors", device)
        self.name = f"{encoder.name}, audio tuned into {about['space']['name']}"
        self.licence, self.weights_sha256 = encoder.licence, about["weights"]["sha256"]
        self._encoder = encoder
        self._tuned = TunedModel(encoder.tower("audio"), Mixture.of(with_prefix(state, "mixture.")))
        self._tuned.load_state_dict(state)
        self._tuned.eval().requires_grad_(False).to(device)
        self.dim = self._tuned.mixture.dim

    def read(self, modality: str, item: str | Path) -> Float32[np.ndarray, "t f"]:
        """Return one recording's features."""
        return self._encoder.read(modality, item)

    def encode(
        self, modality: str, batch: Sequence[Float32[np.ndarray, "t f"]]
    ) -> Float32[np.ndarray, "b d"]:
        """Return unit rows of the product's space."""
        with torch.inference_mode():
            return self._tuned(torch.from_numpy(np.stack(batch))).cpu().numpy()


def make_pairs(folder: Path, recipe: Recipe, fresh: bool = False) -> Path:
    """Export the pictures and the recordings that imagebind's audio was fitted on.

    Args:
        folder: Of a world with corpus and spaces.
        recipe: Of the world.
        fresh: Take words that it was not fitted on instead.

    Returns:
        The bank root.
    """
    name = "fresh" if fresh else "pairs"
    root = folder / "tuning" / name
    fit = next(f for f in recipe.spaces["imagebind"].fits if "audio" in f.modalities)
    words = (folder / "corpus/train/words.txt").read_text().split()
    names = [media_name(i, words[i]) for i in range(*(FRESH if fresh else fit.words))]
    heard = [f"{fit.domains[i % len(fit.domains)]}/{n}.wav" for i, n in enumerate(names)]
    lists = {"audio": heard, "image": [f"image/{name}.png" for name in names]}
    train = folder / "corpus/train"
    paths = {m: _write_list(train / f"{name}-{m}.csv", found) for m, found in lists.items()}
    for space in TUNE_FROM:
        audio = paths["audio"] if space == "imagebind" else None
        _export(folder, root, space, SPLIT, audio=audio, image=paths["image"])
    table = Split(root / SPLIT).pairs_path("audio", "image")
    if not table.exists():
        files.write_npy(table, np.tile(np.arange(len(names))[:, None], (1, 2)))
    return root


def _write_list(path: Path, found: Sequence[str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in found)])
    return path


def _export(
    folder: Path,
    root: Path,
    space: str,
    split: str,
    audio: Path | None = None,
    image: Path | None = None,
) -> None:
    tuned = space == TUNED
    encoder = TunedWordEncoder if tuned else WordEncoder
    weights = folder / ("tuning/tuned" if tuned else f"spaces/{space}.safetensors")
    export(
        ExportConfig(
            space=(space,),
            out=root,
            split=split,
            encoder=(f"{encoder.__module__}:{encoder.__name__}",),
            weights=(str(weights),),
            device="cpu",
            strict=True,
            settings=ExportSettings(batch=250, workers=0),  # no fork where JAX is
            audio=audio,
            image=image,
        )
    )


def tune(
    folder: Path,
    recipe: Recipe,
    how: TuneSettings | None = None,
    out: str = "tuned",
    fresh: bool = False,
    told: Callable[[int, float], None] = lambda *_: None,
) -> Path:
    """Tune a world's audio encoder into its internvl_ib.

    Args:
        folder: Of a world with products.
        recipe: Of the world.
        how: Settings; None takes the defaults, and half a batch of the recipe's.
        out: Name of the folder below ``tuning``.
        fresh: See ``make_pairs``.
        told: Of steps and losses.

    Returns:
        The folder of the tuned encoder.
    """
    root, space = make_pairs(folder, recipe, fresh), folder / "runs" / PRODUCT / "space"
    how = how or TuneSettings(batch=recipe.batch // 2)
    write_fused(FusedSpace.load(space), open_banks(root, SPLIT, spaces=TUNE_FROM), root, PRODUCT)
    torch.set_num_threads(1)  # small matrices: two threads are slower than one
    displacement = read_displacement(space)
    pairs = open_pairs(root, SPLIT, PRODUCT, folder / "corpus/train")
    encoder = WordEncoder(folder / "spaces" / "imagebind.safetensors")
    require_fit(displacement, pairs, "imagebind", encoder.dim)
    encoder.read = cache(encoder.read)  # type: ignore[method-assign]  # epochs hear the same
    model = TunedModel(encoder.tower("audio"), displacement.mixture)
    made = folder / "tuning" / out
    tuning = Tuning(model, encoder, pairs, how, made, origin(displacement, encoder))
    tuning.run(TuneRuntime(workers=0), told)
    return made


def export_tuned(folder: Path, splits: Sequence[str]) -> None:
    """Export the tuned encoder's rows into the banks of the world."""
    for split in splits:
        audio = folder / "corpus" / split / "audio"
        _export(folder, folder / "banks", TUNED, split, audio=audio)


def try_variants(folder: Path, recipe: Recipe = FULL) -> None:
    """Tune at every setting of ``VARIANTS``; write R@1 on validation to ``tuning.json``.

    Args:
        folder: Of a world with products.
        recipe: Of the world.
    """
    space = FusedSpace.load(folder / "runs" / PRODUCT / "space")
    val = open_banks(folder / "banks", "val", spaces=space.spaces)
    tables, before = pair_tables(space.modalities, val), dict(fused_rows(space, val))
    native = {m: val["imagebind", m][:] for m in before}
    found = {"imagebind": _recalls(native, tables), PRODUCT: _recalls(before, tables)}
    encoder = WordEncoder(folder / "spaces/imagebind.safetensors")
    heard = [
        encoder.read("audio", path) for path in sorted((folder / "corpus/val/audio").iterdir())
    ]
    for number, (name, (options, fresh)) in enumerate(VARIANTS.items()):
        how = TuneSettings(**{"batch": recipe.batch // 2, **options})
        made = tune(folder, recipe, how, f"variant-{number}", fresh)
        rows = TunedWordEncoder(made).encode("audio", heard)
        found[name] = _recalls({**before, "audio": rows}, tables)
        print(name, found[name], flush=True)
    files.write_json(folder / "tuning.json", found)


def _recalls(rows: dict[str, np.ndarray], tables: Tables) -> dict[str, float]:
    return {pair: figures["R@1"] for pair, figures in compare(rows, tables).items()}


@dataclass(frozen=True)
class TryConfig:
    """Try other settings of the tuning, on validation."""

    world: Path
    """A world that is built."""


if __name__ == "__main__":
    run_command(lambda: try_variants(tyro.cli(TryConfig).world))
