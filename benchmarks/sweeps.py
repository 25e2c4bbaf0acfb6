"""What a sweep takes, against one evaluation of the same split.

    PYTHONPATH=.:tests python benchmarks/sweeps.py --scale 0.1

Random embeddings, 1024 dimensions, in splits of the sizes of the paper's sets times ``scale``. Both
take turns; the shortest of some rounds counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import tyro
from made import random_bond
from timing import seconds

from fb_jax.banks import BankSet
from fb_jax.evaluation import evaluate, sweep
from fb_jax.fusion import FusedSpace

DIM = 1024


@dataclass(frozen=True)
class Sizes:
    scale: float = 0.1
    """Share of the items of each set."""
    rounds: int = 2
    """Rounds that count, after one that compiles."""


@dataclass(frozen=True)
class Shape:
    items: int
    texts: int
    """Captions; with classes: prompts."""
    classes: int = 0
    labels: int = 1
    """Labels of each item."""


SHAPES = {
    "AudioCaps": Shape(964, 4820),
    "ESC-50, 1 template": Shape(2000, 50, 50),
    "ESC-50, 18 templates": Shape(2000, 900, 50),
    "AudioSet, 1 template": Shape(19048, 527, 527, 3),
    "50,000 x 1000 classes, 8 templates": Shape(50_000, 8000, 1000),
}


def split_of(space: FusedSpace, shape: Shape, items: int) -> BankSet:
    rng = np.random.default_rng(0)
    counts = {"audio": items, "text": shape.texts if shape.classes else 5 * items}
    draw = lambda count, dim: rng.normal(size=(count, dim)).astype(np.float32)  # noqa: E731
    rows = {
        name: {modality: draw(count, space.dims[name]) for modality, count in counts.items()}
        for name in space.spaces
    }
    spread = lambda count, over: np.stack([np.arange(count), np.arange(count) % over], 1)  # noqa: E731
    if not shape.classes:
        return BankSet.from_arrays(rows, {("text", "audio"): spread(counts["text"], items)})
    labels = [(i, (i * 7 + k) % shape.classes) for i in range(items) for k in range(shape.labels)]
    prompts = spread(counts["text"], shape.classes)
    pairs = {("audio", "class"): np.array(labels), ("text", "class"): prompts}
    return BankSet.from_arrays(rows, pairs)


def main(sizes: Sizes) -> None:
    bond = random_bond("combination", ("u", DIM), ("e", DIM), ("text", "audio"))
    space = FusedSpace.of(bond)
    for name, shape in SHAPES.items():
        items = round(shape.items * sizes.scale)
        banks = split_of(space, shape, items)
        work = {f.__name__: partial(f, space, banks) for f in (sweep, evaluate)}
        taken = seconds(work, sizes.rounds)
        ratio = taken["sweep"] / taken["evaluate"]
        print(f"{name}, {items} items: sweep {taken['sweep']:.2f} s, evaluation ", end="")
        print(f"{taken['evaluate']:.2f} s: {ratio:.1f} evaluations", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Sizes))
