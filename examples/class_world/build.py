"""The whole class world from nothing, step by step: corpus, spaces, banks, bonds.

    python -m examples.class_world --seed 0

Every step writes a folder or a file under a temporary name and renames it when it is complete, so
the same command continues an interrupted build.

    OUT/seed-0/corpus/                   media, captions, prompts
    OUT/seed-0/spaces/NAME.safetensors   encoders
    OUT/seed-0/banks/                    pool, val, test, sounds, scenes, drawings
    OUT/seed-0/checks/                   sounds and drawings for the targets of the spaces
    OUT/seed-0/scores.json               scores of the spaces on validation, see targets.json
    OUT/seed-0/runs/NAME/                bonds and products, by ``freebind train``
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import tyro

from examples.class_world import targets
from examples.class_world.banks import make_banks
from examples.class_world.corpus import make_corpus, training_items
from examples.class_world.encoders import ClassEncoder
from examples.class_world.recipe import PRODUCTS, RECIPES
from examples.word_world import build as words
from examples.word_world.build import identity, make_spaces, print_count, timed, train_product
from examples.word_world.corpus import require_voices_and_fonts
from examples.word_world.fit import make_space
from fb_jax import files
from fb_jax.process import run_command


@dataclass(frozen=True)
class BuildConfig(words.BuildConfig):
    """Build the class world of one seed, or continue building it."""

    world: ClassVar[str] = "class_world"

    out: Path = Path("build/class_world")
    """The world is built in OUT/seed-SEED."""


def main() -> None:
    """Run the command."""
    run_command(lambda: build(tyro.cli(BuildConfig, prog=BuildConfig().command)))


def build(config: BuildConfig) -> None:
    """Run every step that is not done yet; scores are always computed again."""
    require_voices_and_fonts()
    folder, recipe = config.folder, RECIPES[config.recipe]
    make = partial(
        make_space,
        folder=folder,
        recipe=recipe,
        seed=config.seed,
        encoder=ClassEncoder,
        items=training_items,
    )
    with files.locked(folder):
        files.claim(folder / "world.json", identity(config, recipe), "scenes")
        with timed("corpus"):
            make_corpus(folder / "corpus", recipe, config.seed, print_count, config.workers)
        with timed("spaces"):
            make_spaces(folder, recipe, make, config.workers)
        with timed("banks"):
            make_banks(folder, recipe)
        with timed("scores of the spaces"):
            config.require_targets(targets.score_spaces(folder, recipe), targets.TARGETS)
        with timed("bonds"):
            for product in PRODUCTS:
                train_product(config, product)
    print(f"the world is in {folder}")


if __name__ == "__main__":
    main()
