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

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro

from examples.class_world import targets
from examples.class_world.banks import make_banks
from examples.class_world.corpus import make_corpus, training_items
from examples.class_world.encoders import ClassEncoder
from examples.class_world.recipe import PRODUCTS, RECIPES
from examples.word_world.build import REPOSITORY, make_spaces, print_count, timed
from examples.word_world.corpus import require_voices_and_fonts
from examples.word_world.fit import make_space
from examples.word_world.recipe import DOMAINS
from examples.word_world.targets import require_targets
from fb_jax import files
from fb_jax.cli.train import train
from fb_jax.process import run_command

COMMAND = "python -m examples.class_world"
CONFIGS = {"full": "fb_jax/class_world/config.yaml", "tiny": "examples/word_world/tiny.yaml"}


@dataclass(frozen=True)
class BuildConfig:
    """Build the class world of one seed, or continue building it."""

    seed: int = 0
    """Seed of everything random: scenes, voices, pictures, weights of encoders and bonds."""

    out: Path = Path("build/class_world")
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


def main() -> None:
    """Run the command."""
    run_command(lambda: build(tyro.cli(BuildConfig, prog=COMMAND)))


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
        files.claim(folder / "world.json", _identity(config), "scenes")
        with timed("corpus"):
            make_corpus(folder / "corpus", recipe, config.seed, print_count, config.workers)
        with timed("spaces"):
            make_spaces(folder, recipe, make, config.workers)
        with timed("banks"):
            make_banks(folder, recipe)
        with timed("scores of the spaces"):
            scores = targets.score_spaces(folder, recipe)
            if config.recipe == "full" and not config.despite_targets:
                require_targets(scores, folder, targets.TARGETS)
        with timed("bonds"):
            make_bonds(config)
    print(f"the world is in {folder}")


def _identity(config: BuildConfig) -> dict[str, Any]:
    """Return every setting that the world depends on."""
    return {
        "format": "class-world",
        "seed": config.seed,
        "name": config.recipe,
        "recipe": dataclasses.asdict(RECIPES[config.recipe]),
        "voices": {name: dataclasses.asdict(voices) for name, voices in DOMAINS.items()},
    }


def make_bonds(config: BuildConfig) -> None:
    """Make every product as ``freebind train`` does, which skips what is done."""
    folder = config.folder.absolute()
    command = [
        *("--config", REPOSITORY / CONFIGS[config.recipe], "--training.seed", config.seed),
        *("--data", folder / "banks", "--store", folder / "pairs", "--out", folder / "runs"),
    ]
    for name in PRODUCTS:
        train([*map(str, command), "--product", name], COMMAND)


if __name__ == "__main__":
    main()
