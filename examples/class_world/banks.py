"""The banks of a class world: the ordinary export, pair tables, labels and ``dataset.json``."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from examples.class_world.classes import CLASSES, labels
from examples.class_world.corpus import CHECKS, LABELLED, labelled
from examples.class_world.encoders import ClassEncoder
from examples.class_world.recipe import Recipe
from examples.word_world.exports import export_media
from fb_jax import files
from fb_jax.banks import POOL, Split, write_items

GALLERIES = ("val", "test")


def make_banks(folder: Path, recipe: Recipe) -> None:
    """Export every split in every space, and write pair tables and labels.

    Args:
        folder: Folder of a world with corpus and spaces.
        recipe: Recipe of the world.
    """
    for name in recipe.spaces:
        weights = folder / "spaces" / f"{name}.safetensors"
        for split in (POOL, *GALLERIES, *LABELLED, *CHECKS):
            root, source = split_of(folder, split).path.parent, folder / "corpus" / split
            known = {
                "text": source / "text.csv",
                "audio": source / "audio",
                "image": source / "image",
            }
            media = {m: known[m] for m in recipe.spaces[name].modalities if known[m].exists()}
            export_media(root, Path(split).name, name, ClassEncoder, weights, media)
    for name in GALLERIES:
        _pair(split_of(folder, name), recipe.gallery)
    for name in (*LABELLED, *CHECKS):
        _label(split_of(folder, name), folder / "corpus" / name, name)


def split_of(folder: Path, name: str) -> Split:
    """Return a split of a world; those for checks are in a root of their own."""
    return Split(folder / (name if name in CHECKS else f"banks/{name}"))


def _pair(split: Split, count: int) -> None:
    """Write pair tables: recording i, picture i and captions 2 i and 2 i + 1 are scene i."""
    rows = {"audio": np.arange(count), "image": np.arange(count), "text": np.arange(2 * count) // 2}
    for left, right in combinations(rows, 2):
        if not split.pairs_path(left, right).exists():
            together = rows[left][:, None] == rows[right]
            split.write_pairs(left, right, np.argwhere(together))
    _describe(split, (), {"audio": count, "image": count, "text": 2 * count})


def _label(split: Split, source: Path, name: str) -> None:
    """Write the classes, the labels of the items, and which prompts belong to which class."""
    modality, templates = labelled(name)
    scenes = (source / "scenes.txt").read_text().splitlines()
    if not split.items_path("class").exists():
        write_items(split.items_path("class"), ({"id": c, "caption": c} for c in CLASSES))
        split.write_pairs(modality, "class", np.array(labels(scenes)))
        prompts = np.arange(len(CLASSES) * len(templates))
        split.write_pairs("class", "text", np.stack([prompts // len(templates), prompts], axis=1))
    _describe(split, templates, {modality: len(scenes), "class": len(CLASSES)})


def _describe(split: Split, templates: tuple[str, ...], counts: dict[str, int]) -> None:
    files.write_json(
        split.path / "dataset.json",
        {
            "dataset": f"class_world {split.name}",
            "version": "1",
            "templates": list(templates),
            "counts": {"listed": counts, "here": counts, "paper": {}},
        },
    )
