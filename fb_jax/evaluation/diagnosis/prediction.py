"""Where a bond helps and where it hurts, predicted before training and without pairs [O].

Which of two spaces links two modalities better cannot be known without pairs, so the premise of
FreeBind is taken as given: the expert is better at its own modalities. The expected gain of a pair
of modalities (m, n) is

    gain(m, n) = weight x carried x news

weight   the mean of both modalities' factors; 0 for a modality that the expert lacks.
carried  how much of the expert a projector can bring over: see ``carried``.
news     what the expert knows that the unified space does not.
         Expert has m and n: the share of the k nearest items on which the two spaces do not agree,
         1 - ``neighbours.overlap``, mean of both directions.
         Expert has m only: it reaches n over another modality b that it has. The round trips of the
         unified space between b and n, less those between m and n; the best b counts. Negative
         if the unified space links m with n more sharply than it links b with n.
         Expert has neither, or no such b: 0.

A modality that only the expert has is new to the unified space, so that there is no gain to expect.

The scale is arbitrary: the order of pairs, and the sign, are the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations

import numpy as np
from jaxtyping import Float

from fb_jax.banks import BankSet, unit_rows
from fb_jax.evaluation.diagnosis.neighbours import between, overlap, round_trips
from fb_jax.evaluation.diagnosis.sample import ByModality, Sampling, halves
from fb_jax.fusion import Factors

RIDGE = 1e-3
"""Ridge, as a share of the mean square of the coordinates of the projected rows."""

News = dict[tuple[str, str], float]
"""Pair of modalities to what an expert knows of it that the unified space does not."""


def linear_map(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "d e"]:
    """Return the ridge regression of rows on others, W = (X^T X + ridge I)^-1 X^T Y."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    gram = x.T @ x
    ridge = RIDGE * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), x.T @ y)


def carried(banks: BankSet, unified: str, expert: str, sampling: Sampling) -> dict[str, float]:
    """Return how much of the expert a linear map can bring into the unified space, by modality.

    The map is fitted on the rows of half of the items, of all shared modalities together. It is
    applied to the rows of the other half, and an item is carried if it is among the k nearest items
    to its own image, in its own modality. Both halves take turns. Row i must be the same item in
    both spaces, as in every pool; no pairs between modalities are needed.

    Returns:
        Modality to the share of items that are carried, 0 to 1.
    """
    shared = [m for m in banks.modalities(unified) if m in banks.modalities(expert)]
    halved = halves(banks, sampling.seed)
    turns = []
    for fit, held in (halved, halved[::-1]):
        x, y = (np.concatenate([fit[space, m][:] for m in shared]) for space in (expert, unified))
        found = partial(_found, held, unified, expert, linear_map(x, y), sampling.neighbours)
        turns.append([found(modality) for modality in shared])
    return dict(zip(shared, np.mean(turns, axis=0).tolist(), strict=True))


def _found(
    held: BankSet, unified: str, expert: str, matrix: np.ndarray, k: int, modality: str
) -> float:
    """Return the share of items among the k nearest unified rows of their expert rows' images."""
    image = unit_rows(held[expert, modality][:] @ matrix)
    lists = between(image, held[unified, modality][:], k)
    return float((lists == np.arange(len(lists))[:, None]).any(axis=1).mean())


def agreement(first: ByModality, second: ByModality, start: str, end: str, k: int) -> float:
    """Return the share of the k nearest items of another modality that two spaces both find.

    Chance is about k / n. Two spaces that agree far above chance are both right about many items.
    """
    lists = [between(rows[start], rows[end], k) for rows in (first, second)]
    return float(overlap(*lists).mean())


def news(unified: ByModality, expert: ByModality, k: int) -> News:
    """Return what an expert knows that the unified space does not, by pair of modalities."""
    pairs = list(combinations(sorted(unified), 2))
    trips = {frozenset(pair): round_trips(*(unified[m] for m in pair)) for pair in pairs}
    found: News = {}
    for pair in pairs:
        shared, lacking = (sorted(m for m in pair if (m in expert) == has) for has in (True, False))
        if not lacking:
            ways = (pair, pair[::-1])
            found[pair] = 1 - float(np.mean([agreement(unified, expert, *w, k) for w in ways]))
        elif shared:
            bridges = [frozenset((b, *lacking)) for b in expert if b in unified and b not in pair]
            direct = trips[frozenset(pair)]
            found[pair] = max((trips[bridge] for bridge in bridges), default=direct) - direct
        else:
            found[pair] = 0.0
    return found


def expected_gain(
    share: Mapping[str, float], known: News, points: Mapping[str, Factors]
) -> dict[str, dict[str, float]]:
    """Return the expected gain of every pair of modalities at some factors: see above.

    Args:
        share: How much of the expert is carried: see ``carried``.
        known: What the expert knows: see ``news``.
        points: Name to factors of the modalities that the expert has.

    Returns:
        Name of the factors to pair of modalities (``audio-text``) to expected gain.
    """
    gains: dict[str, dict[str, float]] = {name: {} for name in points}
    for (m, n), new in known.items():
        brought = np.mean([share[o] for o in (m, n) if o in share] or [0.0])
        for name, factors in points.items():
            weight = np.mean([factors.get(m, 0.0), factors.get(n, 0.0)])
            gains[name][f"{m}-{n}"] = float(weight * brought * new)
    return gains
