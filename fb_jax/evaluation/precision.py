"""Average precision of a class over all items: at one set of scores, or for resampled items.

All items are ranked by their score with the class; of equal scores the lower row comes first, and a
score that is no number counts against its class. AP is the mean over the class's items of the
precision at each: the share of its items among those ranked as high or higher. The macro mean over
classes is mAP [P].
"""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, UInt8

from fb_jax.evaluation.ranks import SCORE_BYTES


@jax.jit
def _scores(classes: Float[Array, "c d"], items: Float[Array, "n d"]) -> Float[Array, "c n"]:
    return jnp.matmul(classes, items.T, precision=jax.lax.Precision.HIGHEST)


def average_precision(
    scores: Float[np.ndarray, " n"], positive: Integer[np.ndarray, " p"]
) -> float:
    """Return the average precision of one class in percent.

    Args:
        scores: Score of each item; all are numbers.
        positive: Rows of the items of the class, one or more.
    """
    own, ordered = scores[positive], np.sort(scores)  # several times as fast as to sort the rows
    first, end = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
    ranks = len(scores) - end + 1
    for i in np.flatnonzero(end - first > 1):  # others have the same score
        ranks[i] += np.count_nonzero(scores[: positive[i]] == own[i])
    return float(100 * np.mean(np.arange(1, len(ranks) + 1) / np.sort(ranks)))


def average_precisions(
    items: Float[np.ndarray, "n d"],
    classes: Float[np.ndarray, "c d"],
    labels: Integer[np.ndarray, "p 2"],
    times: UInt8[np.ndarray, "n b"],
    memory: int = SCORE_BYTES,
) -> Float[np.ndarray, "b c"]:
    """Return the average precision of every class in percent, for each weighting of the items.

    Args:
        items: ``[n, d]`` rows.
        classes: ``[c, d]`` rows.
        labels: ``[p, 2]`` (item, class) rows.
        times: ``[n, b]`` how often each item counts.
        memory: Bytes for the scores of some classes, and for some weightings of a class.

    Returns:
        ``[b, c]``; NaN for a class without an item that counts.
    """
    found = np.full((times.shape[1], len(classes)), np.nan)
    block, on_device = max(1, memory // (4 * max(1, len(items)))), jnp.asarray(items)
    for start in range(0, len(classes), block):
        scores = _scores(jnp.asarray(classes[start : start + block]), on_device)
        for number, own in enumerate(np.asarray(scores), start):
            positive = np.zeros(len(items), bool)
            positive[labels[labels[:, 1] == number, 0]] = True
            found[:, number] = _average_precision(own, positive, times, memory)
    return found


def _average_precision(
    scores: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    times: UInt8[np.ndarray, "n b"],
    memory: int,
) -> Float[np.ndarray, " b"]:
    if not positive.any():
        return np.full(times.shape[1], np.nan)
    # A NaN counts against its class: as a positive it ranks last, else first.
    scores = np.where(np.isnan(scores), np.where(positive, -np.inf, np.inf), scores)
    order = np.argsort(-scores, kind="stable")
    at = np.flatnonzero(positive[order])
    order = order[: at[-1] + 1]
    block = max(1, memory // (len(order) + 40 * len(at)))  # weightings at a time
    columns = range(0, times.shape[1], block)
    return np.concatenate([_weighted(times[order, c : c + block], at) for c in columns])


def _weighted(
    times: UInt8[np.ndarray, "r b"], at: Integer[np.ndarray, " p"]
) -> Float[np.ndarray, " b"]:
    """Return average precisions of ranked items, from how often each counts and the right ones."""
    own = times[at].astype(np.int64)
    right = np.cumsum(own, axis=0)
    ends = [0, *(at + 1).tolist()]
    between = [times[low:high].sum(axis=0, dtype=np.int64) for low, high in pairwise(ends)]
    terms = own * right / np.maximum(np.cumsum(between, axis=0), 1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: none of its items counts
        return 100 * terms.sum(axis=0) / right[-1]
