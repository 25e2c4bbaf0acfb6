"""Measures of nearest items: do spaces agree on them, are there hubs, does a round trip return?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from fb_jax.evaluation.search import nearest

Lists = Int[np.ndarray, "n k"]
"""For each item the rows of its nearest items, the nearest first."""


def within(rows: Float[np.ndarray, "n d"], k: int) -> Lists:
    """Return the k nearest other items of each item of one modality, at most n - 1."""
    found = nearest(rows, rows, k + 1)[1]
    itself = found == np.arange(len(rows))[:, None]
    return np.take_along_axis(found, np.argsort(itself, axis=1, kind="stable"), axis=1)[
        :, : found.shape[1] - 1
    ]


def between(queries: Float[np.ndarray, "n d"], gallery: Float[np.ndarray, "m d"], k: int) -> Lists:
    """Return the k nearest items of another modality, at most m."""
    return nearest(queries, gallery, k)[1]


def overlap(first: Lists, second: Lists) -> Float[np.ndarray, " n"]:
    """Return for each item the share of its k nearest items that two spaces have in common.

    |N_1(i) and N_2(i)| / k. Its mean over the items is the mutual k-nearest-neighbour overlap (Huh
    et al., arXiv 2405.07987). Chance is about k / n.

    Args:
        first: The lists of one space.
        second: Those of the other, over the same items.
    """
    common = first[:, :, None] == second[:, None, :]
    return common.any(axis=2).mean(axis=1)


def hubness(lists: Lists, count: int) -> float:
    """Return the skewness of the k-occurrence (Radovanovic et al., JMLR 11, 2010).

    N(j) is the number of lists that item j is in, and the skewness E[(N - mean)^3] / std^3. It is 0
    if all items are found alike, and large if a few items are found by many (hubs).

    Args:
        lists: Nearest items.
        count: Number of items that could be found.
    """
    occurrence = np.bincount(lists.ravel(), minlength=count)
    centred = occurrence - occurrence.mean()
    deviation = np.sqrt(np.mean(centred**2))
    return float(np.mean(centred**3) / deviation**3) if deviation else 0.0


def round_trips(left: Float[np.ndarray, "n d"], right: Float[np.ndarray, "m d"]) -> float:
    """Return the share of items, 0 to 1, whose round trip returns [O].

    A round trip goes from an item to its nearest item of the other modality, and from there to the
    nearest item of the first one. It returns for both items of a pair of mutual nearest neighbours,
    so the share is 2 x (number of such pairs) / (n + m). Unpaired items are enough. It measures how
    sharply a space links two modalities. Compare it within one space only: it cannot see a link
    that is sharp and wrong, since trips return as before if one modality's rows are all rotated.
    """
    to_right, to_left = between(left, right, 1)[:, 0], between(right, left, 1)[:, 0]
    pairs = np.count_nonzero(to_left[to_right] == np.arange(len(left)))
    return 2 * pairs / (len(left) + len(right))
