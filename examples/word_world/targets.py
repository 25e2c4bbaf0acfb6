"""How good the spaces must be, fixed before any bond was trained, and how good they are.

Ranges follow the paper's own proportions (Tables 3 and 4): see ``targets.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.word_world.recipe import DOMAINS, Recipe
from fb_jax.banks import files, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import retrieval

TARGETS = Path(__file__).with_name("targets.json")
Scores = dict[str, float]


def score_spaces(folder: Path, recipe: Recipe) -> Scores:
    """Return, and write to ``scores.json``, R@1 on validation of every space, mean of directions.

    Keys are ``space pair``, and ``space pair domain`` on the experts' own domains.
    """
    scores: Scores = {}
    for name in recipe.spaces:
        scores |= _score(folder / "banks", "val", name)
    scores |= score_domains(folder, "val", recipe)
    files.write_json(folder / "scores.json", scores)
    return scores


def score_domains(folder: Path, split: str, recipe: Recipe) -> Scores:
    """Return R@1 of every audio-text expert on each domain of a split, as ``space pair domain``."""
    found: Scores = {}
    for name, space in recipe.spaces.items():
        for domain in DOMAINS if space.modalities == ("audio", "text") else ():
            scores = _score(folder / "domains", f"{split}_{domain}", name)
            found |= {f"{key} {domain}": score for key, score in scores.items()}
    return found


def _score(root: Path, split: str, space: str) -> Scores:
    banks = open_banks(root, split, spaces=[space])
    return {
        f"{space} {left}-{right}": retrieval(
            banks[space, left][:], banks[space, right][:], banks.pairs(left, right)
        )["R@1"]
        for left, right in banks.paired()
    }


def missed(scores: Scores, targets: dict[str, Any]) -> list[str]:
    """Return a line for every target that the scores miss.

    Args:
        scores: From ``score_spaces``.
        targets: ``ranges`` (score to lowest and highest), and ``margins`` (a score, the one that it
            must exceed, and by how much).
    """
    outside = [
        f"{name}: {scores[name]:.1f}, not in {low} to {high}"
        for name, (low, high) in targets["ranges"].items()
        if not low <= scores[name] <= high
    ]
    behind = [
        f"{better}: {scores[better]:.1f}, not {margin} above {worse}: {scores[worse]:.1f}"
        for better, worse, margin in targets["margins"]
        if not scores[better] > scores[worse] + margin
    ]
    return outside + behind


def require_targets(scores: Scores, folder: Path) -> None:
    """Raise a FreeBindError unless the spaces are as good, and as bad, as they must be."""
    if lines := missed(scores, files.read_json(TARGETS)):
        raise FreeBindError(
            "the spaces miss their targets",
            where=folder / "scores.json",
            expected=f"the ranges in {TARGETS}",
            got="; ".join(lines),
            fix="mend the recipe before a bond is trained; delete spaces/NAME.safetensors of what "
            "misses, and NAME in every embeddings folder of banks and domains",
        )
