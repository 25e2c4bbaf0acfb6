"""Target ranges for the spaces' scores, and the scores.

The ranges in ``targets.json`` follow the proportions of the paper's Tables 3 and 4. They were fixed
before any bond was trained.
"""

from __future__ import annotations

from pathlib import Path

from examples.class_world.banks import split_of
from examples.class_world.corpus import CHECKS
from examples.class_world.recipe import Recipe
from examples.word_world.targets import Scores
from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.evaluation.classes import with_classes
from fb_jax.evaluation.models import compare, pair_tables

TARGETS = Path(__file__).with_name("targets.json")


def score_spaces(folder: Path, recipe: Recipe) -> Scores:
    """Write R@1 and top-1 of every space on validation, in percent, to ``scores.json``.

    Returns:
        The scores. Keys are ``space pair``, such as ``imagebind audio-class``.
    """
    scores: Scores = {}
    for name in recipe.spaces:
        for split in ("val", *CHECKS):
            path = split_of(folder, split).path
            if (path / "embeddings" / name).exists():
                scores |= _score(path, name)
    files.write_json(folder / "scores.json", scores)
    return scores


def _score(split: Path, space: str) -> Scores:
    banks = open_banks(split.parent, split.name, spaces=[space])
    rows = with_classes({m: banks[space, m][:] for m in banks.modalities(space)}, banks)
    figures = compare(rows, pair_tables(banks.modalities(space), banks))
    metric = "R@1" if split.name == "val" else "top-1"
    return {f"{space} {pair}": found[metric] for pair, found in figures.items()}
