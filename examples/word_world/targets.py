"""Target ranges for the spaces' retrieval scores, and the scores.

The ranges in ``targets.json`` follow the proportions of the paper's Tables 3 and 4. They were fixed
before any bond was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.word_world.recipe import DOMAINS, Recipe
from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.classes import with_classes
from fb_jax.evaluation.models import compare, pair_tables

TARGETS = Path(__file__).with_name("targets.json")
Scores = dict[str, float]


def score_spaces(folder: Path, recipe: Recipe) -> Scores:
    """Write R@1 of every space on validation, the mean of both directions, to ``scores.json``.

    Returns:
        The scores. Keys are ``space pair``, and ``space pair domain`` on the splits of one domain.
    """
    scores: Scores = {}
    for name in recipe.spaces:
        scores |= score(folder / "banks", "val", name)
    scores |= score_domains(folder, "val", recipe)
    files.write_json(folder / "scores.json", scores)
    return scores


def score_domains(folder: Path, split: str, recipe: Recipe) -> Scores:
    """Return R@1 of the audio-text experts on each domain of a split: ``space pair domain``."""
    by_domain: Scores = {}
    for name, space in recipe.spaces.items():
        for domain in DOMAINS if space.modalities == ("audio", "text") else ():
            scores = score(folder / "domains", f"{split}_{domain}", name)
            by_domain |= {f"{key} {domain}": score for key, score in scores.items()}
    return by_domain


def score(root: Path, split: str, space: str) -> Scores:
    """Return R@1 of every pair of modalities of a split, and top-1 of labelled items."""
    banks = open_banks(root, split, spaces=[space])
    rows = with_classes({m: banks[space, m][:] for m in banks.modalities(space)}, banks)
    figures = compare(rows, pair_tables(banks.modalities(space), banks))
    return {
        f"{space} {pair}": found["top-1" if "class" in pair else "R@1"]
        for pair, found in figures.items()
    }


def missed(scores: Scores, targets: dict[str, Any]) -> list[str]:
    """Return a line for each target that the scores miss.

    Args:
        scores: Scores from ``score_spaces``.
        targets: ``ranges`` (score to lowest and highest value) and ``margins`` (a score, the one
            that it must exceed, and the points by which).
    """
    outside = [
        f"{name}: {scores[name]:.1f}, not in {low} to {high}"
        for name, (low, high) in targets["ranges"].items()
        if not low <= scores[name] <= high
    ]
    too_close = [
        f"{better}: {scores[better]:.1f}, not {margin} above {worse}: {scores[worse]:.1f}"
        for better, worse, margin in targets["margins"]
        if not scores[better] > scores[worse] + margin
    ]
    return outside + too_close


def require_targets(scores: Scores, folder: Path, targets: Path) -> None:
    """Raise a FreeBindError unless all scores meet the targets in a file."""
    if lines := missed(scores, files.read_json(targets)):
        raise FreeBindError(
            "the spaces miss their targets",
            where=folder / "scores.json",
            expected=f"the ranges in {targets}",
            got="; ".join(lines),
            fix="change the recipe before a bond is trained; for each space that misses, delete "
            "spaces/NAME.safetensors and the folders NAME in banks and domains",
        )
