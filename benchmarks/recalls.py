"""R@1 by item, and differences with intervals: for the benchmarks that compare spaces on val.

R@1 is in percent, the mean of both directions; row i of all modalities is the same item. Samples
are one for each bank root, such as the seeds of a world.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fb_jax.banks import BankSet
from fb_jax.evaluation import direction_ranks, paired_bootstrap, sweep
from fb_jax.evaluation.models import fused_rows, tables_for
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace, Hub, HubCorrection

PAIRS = (("audio", "text"), ("audio", "image"), ("image", "text"))

Hits = np.ndarray
"""``[pairs, n]``: 100 for an item whose match ranks first in both directions, 50 in one."""


def at_best(space: FusedSpace, val: BankSet) -> FusedSpace:
    """Return a space at the factors with the best mean R@1 on val."""
    return space.choosing(choose(sweep(space, val), Aim.parse("mean")).factors)


def hits(space: FusedSpace, val: BankSet, pool: BankSet | None = None) -> Hits:
    """Return the hits of a space on val; with a pool, hub-corrected (k 16, alpha 0.75)."""
    items, tables = fused_rows(space, val), tables_for(space, val)
    asks = items
    if pool is not None:
        hubs = HubCorrection(dict.fromkeys(PAIRS, Hub()), fused_rows(space, pool))
        asks = {m: hubs.rows("query", m, x) for m, x in items.items()}
        items = {m: hubs.rows("item", m, x) for m, x in items.items()}
    ranks = [
        direction_ranks(items[a], items[b], tables[a, b], asking=(asks[a], asks[b]))
        for a, b in PAIRS
    ]
    return np.array([[100.0 * (by < 1) for by in both.values()] for both in ranks]).mean(axis=1)


def change(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> str:
    """Return the mean difference of samples ``[n]``, with its 95 % interval."""
    gains = [new - old for old, new in zip(before, after, strict=True)]
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*paired_bootstrap(gains))


def changes(before: Sequence[Hits], after: Sequence[Hits]) -> list[str]:
    """Return the difference of each pair, then of their mean."""
    return [change(*sides) for sides in zip(_columns(before), _columns(after), strict=True)]


def levels(found: Sequence[Hits]) -> list[str]:
    """Return R@1 of each pair, then of their mean."""
    return [f"{np.mean(column):.1f}" for column in _columns(found)]


def _columns(found: Sequence[Hits]) -> list[list[np.ndarray]]:
    """Return the samples of each pair, then of their mean."""
    return list(map(list, zip(*([*own, own.mean(axis=0)] for own in found), strict=True)))


def print_row(name: str, cells: Sequence[str]) -> None:
    """Print a row of a Markdown table."""
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_head(*names: str) -> None:
    """Print the head of a Markdown table."""
    print()
    print_row(names[0], names[1:])
    print_row("---", ["---"] * len(names[1:]))
