"""The whole word world from nothing, step by step: corpus, spaces, banks, bonds, results.

    python -m examples.word_world --seed 0

Every step writes a folder or a file under a temporary name and renames it when it is complete, so
the same command continues an interrupted build.

    OUT/seed-0/corpus/                   media and captions
    OUT/seed-0/spaces/NAME.safetensors   encoders
    OUT/seed-0/banks/                    pool, val and test, written by the ordinary export
    OUT/seed-0/domains/                  val and test with the audio of one domain
    OUT/seed-0/scores.json               R@1 of the spaces on validation, see targets.json
    OUT/seed-0/runs/NAME/                products and their bonds, by ``freebind train``
    OUT/seed-0/tuning/                   pairs and the tuned audio encoder
    OUT/seed-0/metrics.json              results of this seed for docs/word_world.md
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import tyro

from examples.word_world import targets, tuning
from examples.word_world.corpus import make_corpus, require_packages
from examples.word_world.encoders import WordEncoder
from examples.word_world.exports import export_media, text_and_folders
from examples.word_world.fit import make_space
from examples.word_world.recipe import (
    DOMAINS,
    PRODUCTS,
    RECIPES,
    TUNED_PRODUCTS,
    Recipe,
    SpacesRecipe,
)
from examples.word_world.results import write_results
from fb_jax import files
from fb_jax.banks import POOL, Split, open_split, splits
from fb_jax.cli.train import train
from fb_jax.process import run_command
from fb_jax.run import default

EVALUATION = ("val", "test")


@dataclass(frozen=True)
class BuildConfig:
    """Build the word world of one seed, or continue building it."""

    world: ClassVar[str] = "word_world"

    seed: int = 0
    """Seed of everything random: items, voices, pictures, initial weights of encoders and bonds."""

    out: Path = Path("build/word_world")
    """The world is built in OUT/seed-SEED."""

    recipe: Literal["full", "tiny"] = "full"
    """tiny runs every step in about a minute; its scores mean nothing."""

    workers: int = 2
    """Number of processes that make media and train encoders."""

    despite_targets: bool = False
    """Continue although scores of the spaces miss their targets."""

    @property
    def folder(self) -> Path:
        """Folder of this seed's world."""
        return self.out / f"seed-{self.seed}"

    @property
    def command(self) -> str:
        """The command that builds the world."""
        return f"python -m examples.{self.world}"

    def require_targets(self, scores: targets.Scores, known: Path) -> None:
        """Raise a FreeBindError unless the scores of the full recipe meet the targets in a file."""
        if self.recipe == "full" and not self.despite_targets:
            targets.require_targets(scores, self.folder, known)


def main() -> None:
    """Run the command."""
    run_command(lambda: build(tyro.cli(BuildConfig, prog=BuildConfig().command)))


def build(config: BuildConfig) -> None:
    """Run every step that is not done yet; scores and results are always computed again."""
    require_packages()
    folder, recipe = config.folder, RECIPES[config.recipe]
    with files.locked(folder):
        files.claim(folder / "world.json", identity(config, recipe), "words")
        with timed("corpus"):
            make_corpus(folder / "corpus", recipe, config.seed, print_count, config.workers)
        with timed("spaces"):
            make_spaces(
                folder,
                recipe,
                partial(make_space, folder=folder, recipe=recipe, seed=config.seed),
                config.workers,
            )
        with timed("banks"):
            make_banks(folder, recipe)
        with timed("scores of the spaces"):
            config.require_targets(targets.score_spaces(folder, recipe), targets.TARGETS)
        with timed("bonds"):
            make_bonds(config)
        with timed("tuning"):
            make_tuned(config)
        with timed("results"):
            write_results(folder, recipe, config.seed)
    print(f"the world is in {folder}")


def print_count(folder: str, count: int) -> None:
    """Print a folder that was made."""
    print(f"  {folder}: {count} files", flush=True)


def identity(config: BuildConfig, recipe: SpacesRecipe) -> dict[str, Any]:
    """Return every setting that a world depends on."""
    return {
        "format": config.world.replace("_", "-"),
        "seed": config.seed,
        "name": config.recipe,
        "recipe": dataclasses.asdict(recipe),
        "voices": {name: dataclasses.asdict(voices) for name, voices in DOMAINS.items()},
    }


@contextmanager
def timed(title: str) -> Iterator[None]:
    """Print a title, and the seconds that the block took."""
    print(f"{title} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"{title}: {time.monotonic() - start:.0f} s", flush=True)


def make_spaces(
    folder: Path, recipe: SpacesRecipe, make: Callable[[str], str], workers: int
) -> None:
    """Train the encoders of every space that has none yet, each space in one process."""
    spaces = folder / "spaces"
    spaces.mkdir(exist_ok=True)
    missing = [name for name in recipe.spaces if not (spaces / f"{name}.safetensors").exists()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as executor:
        for name in executor.map(make, missing):
            print(f"  {name}", flush=True)


def make_banks(folder: Path, recipe: Recipe) -> None:
    """Export every split in every space, and write the pair tables."""
    for name, space in recipe.spaces.items():
        roots = dict.fromkeys((POOL, *EVALUATION), "banks")
        if space.modalities == ("audio", "text"):
            roots |= {f"{split}_{domain}": "domains" for split in EVALUATION for domain in DOMAINS}
        weights = folder / "spaces" / f"{name}.safetensors"
        for split, root in roots.items():
            media = text_and_folders(folder / "corpus" / split, space.modalities)
            export_media(folder / root, split, name, WordEncoder, weights, media)
    for root in ("banks", "domains"):
        for split in splits(folder / root):
            if split != POOL:
                _pair_rows(open_split(folder / root, split), recipe.gallery)


def _pair_rows(split: Split, count: int) -> None:
    """Write pair tables: row i is the same word in every modality."""
    table = np.tile(np.arange(count)[:, None], (1, 2))
    modalities = sorted(path.stem for path in split.path.glob("items/*.jsonl"))
    for left, right in combinations(modalities, 2):
        if not split.pairs_path(left, right).exists():
            split.write_pairs(left, right, table)


def make_bonds(config: BuildConfig) -> None:
    """Make every product as ``freebind train`` does, which skips what is done."""
    for name in PRODUCTS:
        own = Path(__file__).parent / "products" / f"{name}.yaml"
        train_product(config, str(own) if own.exists() else name)


def make_tuned(config: BuildConfig) -> None:
    """Tune the audio encoder, export its rows, and make the products that take them."""
    folder, recipe = config.folder, RECIPES[config.recipe]
    tuning.tune(folder, recipe)
    tuning.export_tuned(folder, (POOL, *EVALUATION))
    for name in TUNED_PRODUCTS:
        train_product(config, name)


def train_product(config: BuildConfig, product: str) -> None:
    """Make a product as ``freebind train`` does, without chosen factors; bonds lie in ``runs``."""
    folder, tiny = config.folder.absolute(), Path(__file__).with_name("tiny.yaml")
    options = [
        *("--config", tiny if config.recipe == "tiny" else default.config_file(config.world)),
        *("--training.seed", config.seed, "--product", product, "--choose", "none"),
        *("--data", folder / "banks", "--store", folder / "pairs", "--out", folder / "runs"),
    ]
    train(list(map(str, options)), config.command)


if __name__ == "__main__":
    main()
