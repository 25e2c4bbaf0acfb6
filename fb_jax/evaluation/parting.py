"""Parting an evaluation split by item, to choose factors on one part and test on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int, Integer

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError, require_range

SEED = 0


def part_by_item(banks: BankSet, fraction: float) -> tuple[BankSet, BankSet]:
    """Part a split in two; items that belong together, through any table, stay together.

    Args:
        banks: Banks of a split with pairs.
        fraction: Share of the groups of items in the first part, 0.05 to 0.95.

    Returns:
        The first part, to choose on, and the rest. The same split is always parted alike.

    Raises:
        FreeBindError: One of the parts would have no pairs, since most items belong together.
    """
    require_range("parting", 0.05, 0.95, val_fraction=fraction)
    tables = {pair: banks.pairs(*pair) for pair in banks.paired()}
    labels = _groups({m: len(rows) for m, rows in banks.rows.items()}, tables)
    paired = np.unique(np.concatenate([labels[m][t[:, 0]] for (m, _), t in tables.items()]))
    order = np.random.default_rng(SEED).permutation(paired)
    chosen = order[: round(fraction * len(paired))]
    if not 0 < len(chosen) < len(paired):
        raise FreeBindError(
            "this split cannot be parted by item",
            where=banks.split.path,
            expected="two or more groups of items that do not belong together",
            got=f"{len(paired)} groups",
            fix="make a split val of other items",
        )
    inside = {m: np.isin(own, chosen) for m, own in labels.items()}
    return _restricted(banks, inside), _restricted(banks, {m: ~own for m, own in inside.items()})


def _groups(
    counts: Mapping[str, int], tables: Mapping[tuple[str, str], Integer[np.ndarray, "p 2"]]
) -> dict[str, Int[np.ndarray, " n"]]:
    """Return a label for every item: the least number of those it is linked to by pairs.

    Every round halves what is left of a chain of pairs, so that long ones take few rounds.
    """
    ends = np.cumsum([0, *counts.values()])
    first = dict(zip(counts, ends, strict=False))
    numbered = (t + np.array([first[left], first[right]]) for (left, right), t in tables.items())
    pairs = np.concatenate(list(numbered))
    before, label = np.empty(0), np.arange(ends[-1])
    while not np.array_equal(before, label):
        before, low = label, label[pairs].min(axis=1)
        label = label.copy()
        for side in pairs.T:
            np.minimum.at(label, side, low)
            np.minimum.at(label, before[side], low)
        label = label[label]
    return dict(zip(counts, np.split(label, ends[1:-1]), strict=True))


def _restricted(banks: BankSet, inside: Mapping[str, np.ndarray]) -> BankSet:
    rows = {m: own[inside[m]] for m, own in banks.rows.items()}
    kept = {(s, m): bank.restrict(rows[m]) for (s, m), bank in banks.banks.items()}
    return replace(banks, banks=kept, rows=rows)
