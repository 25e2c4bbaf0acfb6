"""Everything from nothing, stage by stage: corpus, spaces, banks, bonds, results.

    python -m examples.word_world --seed 0

Each stage is a folder or a file that is renamed to its place when it is whole, so the same command
goes on where it stopped.

    OUT/seed-0/corpus/                   media and captions
    OUT/seed-0/spaces/NAME.safetensors   encoders
    OUT/seed-0/banks/                    pool, val, test; by the ordinary export
    OUT/seed-0/domains/                  val and test of the audio-text experts' own domains
    OUT/seed-0/scores.json               how good the spaces are on validation, against targets.json
    OUT/seed-0/runs/NAME/                bonds and products, by the ordinary train.py
    OUT/seed-0/tuning/                   pairs and the tuned audio encoder
    OUT/seed-0/metrics.json              everything that docs/word_world.md tells of this seed
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from encoders_torch.export import ExportConfig, export
from encoders_torch.pipeline import ExportSettings
from examples.word_world import targets, tuning
from examples.word_world.corpus import make_corpus, require_packages
from examples.word_world.encoders import WordEncoder, save_towers
from examples.word_world.fit import fit_space
from examples.word_world.recipe import (
    BONDS,
    DOMAINS,
    PRODUCTS,
    RECIPES,
    TUNED_PRODUCTS,
    Recipe,
)
from examples.word_world.results import write_results
from fb_jax.banks import POOL, Split, files, open_split, splits
from fb_jax.console import run_command

REPOSITORY = Path(__file__).parents[2]
ENCODER = f"{WordEncoder.__module__}:{WordEncoder.__name__}"
EVALUATION = ("val", "test")
CONFIGS = {"full": "fb_jax/word_world/config.yaml", "tiny": "examples/word_world/tiny.yaml"}


@dataclass(frozen=True)
class BuildConfig:
    """Build the word world of one seed, or go on with it."""

    seed: int = 0
    """Of everything: words, voices, pictures, the spaces' first weights, the bonds'."""

    out: Path = Path("build/word_world")
    """The world goes to OUT/seed-SEED."""

    recipe: Literal["full", "tiny"] = "full"
    """tiny shows in about a minute that all of it runs; its figures mean nothing."""

    workers: int = 2
    """Processes that make media and train encoders."""

    despite_targets: bool = False
    """Go on although the spaces miss their targets; the report tells which."""

    @property
    def folder(self) -> Path:
        """Where the world of this seed is."""
        return self.out / f"seed-{self.seed}"


def main() -> None:
    """Run the command."""
    run_command(lambda: build(tyro.cli(BuildConfig, prog="python -m examples.word_world")))


def build(config: BuildConfig) -> None:
    """Run every stage that is not done yet."""
    require_packages()
    folder, recipe = config.folder, RECIPES[config.recipe]
    with files.locked(folder):
        files.claim(folder / "world.json", _identity(config), "words")
        with _timed("corpus"):
            told = lambda part, count: print(f"  {part}: {count} files", flush=True)  # noqa: E731
            make_corpus(folder / "corpus", recipe, config.seed, told, config.workers)
        with _timed("spaces"):
            make_spaces(config, recipe)
        with _timed("banks"):
            make_banks(folder, recipe)
        with _timed("scores of the spaces"):
            scores = targets.score_spaces(folder, recipe)
            if config.recipe == "full" and not config.despite_targets:
                targets.require_targets(scores, folder)
        with _timed("bonds"):
            make_bonds(config)
        with _timed("tuning"):
            make_tuned(config)
        with _timed("results"):
            write_results(folder, recipe, config.seed)
    print(f"all of it is in {folder}")


def _identity(config: BuildConfig) -> dict[str, Any]:
    """Return every number that the world is made from."""
    return {
        "format": "word-world",
        "seed": config.seed,
        "name": config.recipe,
        "recipe": dataclasses.asdict(RECIPES[config.recipe]),
        "voices": {name: dataclasses.asdict(voices) for name, voices in DOMAINS.items()},
    }


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    print(f"{stage} ...", flush=True)
    began = time.monotonic()
    yield
    print(f"{stage}: {time.monotonic() - began:.0f} s", flush=True)


def make_spaces(config: BuildConfig, recipe: Recipe) -> None:
    """Train the encoders of every space that has none yet, one process and thread a space."""
    spaces = config.folder / "spaces"
    spaces.mkdir(exist_ok=True)
    names = [name for name in recipe.spaces if not (spaces / f"{name}.safetensors").exists()]
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as executor:
        for name in executor.map(_make_space, names, [config] * len(names)):
            print(f"  {name}", flush=True)


def _make_space(name: str, config: BuildConfig) -> str:
    torch.set_num_threads(1)  # small matrices: two threads are slower than one
    recipe = RECIPES[config.recipe]
    told = lambda line: print(f"  {name}: {line}", flush=True)  # noqa: E731
    towers = fit_space(config.folder / "corpus", recipe, recipe.spaces[name], config.seed, told)
    path = config.folder / "spaces" / f"{name}.safetensors"
    save_towers(path, towers, name, recipe.spaces[name])
    return name


def make_banks(folder: Path, recipe: Recipe) -> None:
    """Export every split in every space, and say which rows are the same word."""
    for name, space in recipe.spaces.items():
        for where in (POOL, *EVALUATION):
            _export(folder, "banks", name, where, space.modalities)
        if space.modalities == ("audio", "text"):
            for where in (f"{split}_{domain}" for split in EVALUATION for domain in DOMAINS):
                _export(folder, "domains", name, where, space.modalities)
    for root in (folder / "banks", folder / "domains"):
        for split in (open_split(root, name) for name in splits(root) if name != POOL):
            _pair_rows(split, recipe.gallery)


def _pair_rows(split: Split, count: int) -> None:
    """Say that row i of every modality is the same word."""
    table = np.tile(np.arange(count)[:, None], (1, 2))
    modalities = sorted(path.stem for path in split.path.glob("items/*.jsonl"))
    for left, right in combinations(modalities, 2):
        if not split.pairs_path(left, right).exists():
            files.write_npy(split.pairs_path(left, right), table)


def _export(folder: Path, root: str, space: str, split: str, modalities: tuple[str, ...]) -> None:
    corpus = folder / "corpus" / split
    export(
        ExportConfig(
            space=(space,),
            out=folder / root,
            split=split,
            encoder=(ENCODER,),
            weights=(str(folder / "spaces" / f"{space}.safetensors"),),
            audio=corpus / "audio" if "audio" in modalities else None,
            image=corpus / "image" if "image" in modalities else None,
            text=corpus / "text.txt" if "text" in modalities else None,
            device="cpu",
            strict=True,
            settings=ExportSettings(batch=250, workers=0),  # no fork where JAX is
        )
    )


def make_bonds(config: BuildConfig) -> None:
    """Make every product and bond by ``train.py``, which skips what is done."""
    runs = config.folder.absolute() / "runs"
    for name in PRODUCTS:
        _train(config, "--product", name, "--out", runs)
    for name, options in BONDS.items():
        _train(config, "--out", runs / name, *options)


def make_tuned(config: BuildConfig) -> None:
    """Tune the audio encoder, export its rows, and make the products that take them."""
    folder, recipe = config.folder, RECIPES[config.recipe]
    tuning.tune(folder, recipe)
    tuning.export_tuned(folder, (POOL, *EVALUATION))
    for name in TUNED_PRODUCTS:
        _train(config, "--product", name, "--out", folder.absolute() / "runs")


def _train(config: BuildConfig, *options: object) -> None:
    folder, cache = config.folder, config.out / "compiled"
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache.absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [
        *(sys.executable, "train.py", "--config", CONFIGS[config.recipe]),
        *("--data", folder.absolute() / "banks", "--store", folder.absolute() / "pairs"),
        *("--training.seed", config.seed, *options),
    ]
    subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment, check=True)


if __name__ == "__main__":
    main()
