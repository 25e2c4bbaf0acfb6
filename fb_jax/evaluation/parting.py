"""Parting an evaluation split by item, to choose factors on one part and test on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError, require_range
from fb_jax.evaluation.classes import CLASS, TEXT, has_prompts, labelled
from fb_jax.evaluation.groups import groups

SEED = 0


def part_by_item(banks: BankSet, fraction: float) -> tuple[BankSet, BankSet]:
    """Part a split in two; items that belong together, through any table, stay together.

    Items with labels are parted too; classes and their prompts are in both parts.

    Args:
        banks: Banks of a split with pairs or labels.
        fraction: Share of the groups of items in the first part, 0.05 to 0.95.

    Returns:
        The first part, to choose on, and the rest. The same split is always parted alike.

    Raises:
        FreeBindError: One of the parts would have no pairs, since most items belong together.
    """
    require_range("parting", 0.05, 0.95, val_fraction=fraction)
    tables = {pair: banks.pairs(*pair) for pair in banks.paired()}
    labels = groups({m: len(rows) for m, rows in banks.rows.items()}, tables)
    asked = [labels[m][table[:, 0]] for (m, _), table in tables.items()]
    asked += [labels[m][banks.pairs(m, CLASS)[:, 0]] for m in labelled(banks)]
    paired = np.unique(np.concatenate([np.empty(0, np.int64), *asked]))
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
    outside = {m: ~own for m, own in inside.items()}
    if has_prompts(banks):
        for part in (inside, outside):
            part[TEXT][banks.pairs(CLASS, TEXT)[:, 1]] = True
    return _restricted(banks, inside), _restricted(banks, outside)


def _restricted(banks: BankSet, inside: Mapping[str, np.ndarray]) -> BankSet:
    rows = {m: own[inside[m]] for m, own in banks.rows.items()}
    kept = {(s, m): bank.restrict(rows[m]) for (s, m), bank in banks.banks.items()}
    return replace(banks, banks=kept, rows=rows)
