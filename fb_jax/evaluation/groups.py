"""Groups of items that belong together, through any pair table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, Integer


def groups(
    counts: Mapping[str, int], tables: Mapping[tuple[str, str], Integer[np.ndarray, "p 2"]]
) -> dict[str, Int[np.ndarray, " n"]]:
    """Return a label for every item: the least number of those it is linked to by pairs.

    Every round halves what is left of a chain of pairs, so that long ones take few rounds.

    Args:
        counts: Modality to its number of items.
        tables: Two of these modalities to the rows that belong together.

    Returns:
        Modality to the label of every item; items of any modality with one label are a group.
    """
    ends = np.cumsum([0, *counts.values()])
    first = dict(zip(counts, ends, strict=False))
    numbered = (t + np.array([first[left], first[right]]) for (left, right), t in tables.items())
    pairs = np.concatenate([np.empty((0, 2), np.int64), *numbered])
    before, label = np.empty(0), np.arange(ends[-1])
    while not np.array_equal(before, label):
        before, low = label, label[pairs].min(axis=1)
        label = label.copy()
        for side in pairs.T:
            np.minimum.at(label, side, low)
            np.minimum.at(label, before[side], low)
        label = label[label]
    return dict(zip(counts, np.split(label, ends[1:-1]), strict=True))
