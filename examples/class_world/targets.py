"""Target ranges for the spaces' scores, and the scores.

The ranges in ``targets.json`` follow the proportions of the paper's Tables 3 and 4. They were fixed
before any bond was trained.
"""

from __future__ import annotations

from pathlib import Path

from examples.class_world.banks import split_of
from examples.class_world.corpus import CHECKS
from examples.class_world.recipe import Recipe
from examples.word_world.targets import Scores, score
from fb_jax import files

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
                scores |= score(path.parent, path.name, name)
    files.write_json(folder / "scores.json", scores)
    return scores
