"""Items and pair tables of a split, from what was found of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from fb_jax.banks.items import Item
from fb_jax.banks.pair_tables import Pair, in_order, pair_key
from fb_jax.datasets.finding import Found
from fb_jax.datasets.prompts import PLACE

CLASS, TEXT = "class", "text"


@dataclass(frozen=True)
class Tables:
    """What a split holds.

    Attributes:
        items: Modality to its items.
        pairs: Two modalities, in alphabetical order, to ``[p, 2]`` rows that belong together.
    """

    items: dict[str, list[Item]]
    pairs: dict[Pair, Int64[np.ndarray, "p 2"]]

    def pair(self, left: str, right: str, rows: Sequence[tuple[int, int]]) -> None:
        """Add the pairs of two modalities, in this order."""
        table = np.array(rows, np.int64).reshape(-1, 2)
        self.pairs[pair_key(left, right)] = in_order((left, right), table)


def tables_of(here: Sequence[Found], captions: int) -> Tables:
    """Return media and captions as items, and which belong together.

    Args:
        here: The items.
        captions: Most captions of an item that are taken; 0 takes all.
    """
    media = list(here[0].paths)
    tables = Tables({m: [{"id": e.id, "path": p[m]} for e, p in here] for m in media}, {})
    owned = [(row, e, k) for row, (e, _) in enumerate(here) for k in range(len(e.captions))]
    owned = [(row, entry, k) for row, entry, k in owned if not captions or k < captions]
    if owned:
        texts = [{"id": f"{e.id}#{k}", "caption": e.captions[k]} for _, e, k in owned]
        tables.items[TEXT] = texts
        tables.pair(media[0], TEXT, [(row, text) for text, (row, _, _) in enumerate(owned)])
    if len(media) > 1:
        tables.pair(media[0], media[1], [(row, row) for row in range(len(here))])
    return tables


def add_classes(
    tables: Tables, here: Sequence[Found], classes: dict[str, str], templates: Sequence[str]
) -> None:
    """Add classes, labels, and the prompts of the classes, which are texts.

    Args:
        tables: Items of one modality without captions.
        here: The same.
        classes: Id to name.
        templates: With a place for the name.
    """
    (media,) = tables.items
    numbers = {name: row for row, name in enumerate(classes)}
    labels = [(row, numbers[n]) for row, (e, _) in enumerate(here) for n in dict.fromkeys(e.labels)]
    prompts = [(name, k) for name in classes for k in range(len(templates))]
    tables.items[CLASS] = [{"id": name, "caption": caption} for name, caption in classes.items()]
    tables.items[TEXT] = [
        {"id": f"{name}#{k}", "caption": templates[k].replace(PLACE, classes[name])}
        for name, k in prompts
    ]
    tables.pair(media, CLASS, labels)
    tables.pair(CLASS, TEXT, [(numbers[name], row) for row, (name, _) in enumerate(prompts)])
