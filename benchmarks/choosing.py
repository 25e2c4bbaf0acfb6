"""What chosen factors bring, and what choosing takes.

python -m benchmarks.choosing FOLDER ...: folders of runs and products whose factors were chosen on
val. The table has R@1 on test at every preset. The interval of the mean difference is a paired
bootstrap over the items of test. The ratio compares choosing on val with evaluating val once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from fb_jax.banks import BankSet
from fb_jax.cli.source import source_of
from fb_jax.evaluation import direction_ranks, evaluate, paired_bootstrap, sweep
from fb_jax.evaluation.models import fused_at, tables_for
from fb_jax.fusion import FusedSpace, parts_of
from fb_jax.fusion.factors import as_text

PAIRS = (("audio", "text"), ("audio", "image"), ("image", "text"))
HEAD = ("space", "factors", *map("-".join, PAIRS), "mean", "chosen against it")
ROUNDS = 3

Hits = dict[tuple[str, str], list[np.ndarray]]
"""Pair of modalities to 100 for every query whose match ranks first, in both directions."""


def main(folders: list[str]) -> None:
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    ratios = {}
    for folder in folders:
        source = source_of(Path(folder), None, None)
        for cells in rows(source.space, source.open("test")):
            print(f"| {Path(folder).name} | {' | '.join(cells)} |")
        ratios[folder] = ratio(source.space, source.open("val"))
    for folder, (choosing, table) in ratios.items():
        print(f"{folder}: choosing {choosing:.2f} s, the table of val {table:.2f} s: ", end="")
        print(f"{choosing / table:.1f} evaluations")


def rows(space: FusedSpace, banks: BankSet) -> Iterator[list[str]]:
    """Yield the cells of every preset."""
    tables, parts = tables_for(space, banks), parts_of(space, banks)
    found = {}
    for name, factors in space.presets.items():
        model = fused_at(space, banks, parts, factors)
        ranks = {pair: direction_ranks(*(model[m] for m in pair), tables[pair]) for pair in PAIRS}
        found[name] = {pair: [100.0 * (r < 1) for r in by.values()] for pair, by in ranks.items()}
    for name, hits in found.items():
        means = [np.mean([np.mean(own) for own in hits[pair]]) for pair in PAIRS]
        cells = [f"{name} ({as_text(space.presets[name])})"]
        yield [*cells, *(f"{x:.1f}" for x in (*means, np.mean(means))), gain(found["chosen"], hits)]


def gain(chosen: Hits, hits: Hits) -> str:
    """Return the mean gain of the chosen factors, with its interval."""
    pairs = [zip(chosen[pair], hits[pair], strict=True) for pair in PAIRS]
    differences = [best - own for both in pairs for best, own in both]
    return (
        ""
        if hits is chosen
        else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*paired_bootstrap(differences))
    )


def ratio(space: FusedSpace, banks: BankSet) -> tuple[float, float]:
    """Return the shortest seconds of choosing factors, and of evaluating once, side by side."""
    seconds: dict[str, list[float]] = {"sweep": [], "evaluate": []}
    for _ in range(ROUNDS + 1):  # the first one compiles
        for work in (sweep, evaluate):
            start = perf_counter()
            work(space, banks)
            seconds[work.__name__].append(perf_counter() - start)
    return min(seconds["sweep"]), min(seconds["evaluate"])


if __name__ == "__main__":
    main(sys.argv[1:])
