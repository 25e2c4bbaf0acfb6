"""Retrieval between two sets of embeddings, and classification, with resamples of their items.

A metric of a task has samples: its value first, then its values on resamples of the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Integer

from fb_jax.evaluation.bootstrap import Bootstrap
from fb_jax.evaluation.groups import groups
from fb_jax.evaluation.metrics import MAP, RECALLS, Measure, measure
from fb_jax.evaluation.precision import average_precisions
from fb_jax.evaluation.ranks import SCORE_BYTES, Positives, Ranks, positive_ranks

Samples = dict[str, Float[np.ndarray, " b"]]
"""Metric to its value, followed by its values on resamples."""

Asking = tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]
"""Rows of both modalities that ask, where other rows do than those that are found."""


def direction_positives(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
    memory: int = SCORE_BYTES,
    asking: Asking | None = None,
) -> dict[str, Positives]:
    """Return the positives of ``left->right`` and of ``right->left``; see ``positive_ranks``."""
    asks = asking or (left, right)
    return {
        "->".join(names): positive_ranks(asks[0], right, pairs, memory),
        "->".join(reversed(names)): positive_ranks(asks[1], left, pairs[:, ::-1], memory),
    }


def direction_ranks(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
    asking: Asking | None = None,
) -> dict[str, Ranks]:
    """Return the ranks of ``left->right`` and of ``right->left``; see ``best_ranks``."""
    found = direction_positives(left, right, pairs, names, asking=asking)
    return {direction: positives.best for direction, positives in found.items()}


def retrieval(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str] = ("left", "right"),
    metrics: Sequence[str] = RECALLS,
) -> dict[str, float]:
    """Evaluate retrieval between two modalities.

    Args:
        left: ``[n, d]`` rows.
        right: ``[m, d]`` rows.
        pairs: ``[p, 2]`` (left, right) rows that belong together.
        names: Names of both modalities, for the keys.
        metrics: Names of metrics: functions of the ranks of the best positives, from 0.

    Returns:
        Each metric, the mean of both directions (which fits the paper's figures [O]); then
        ``METRIC left->right`` and ``METRIC right->left``.

    Raises:
        FreeBindError: There is no such metric.
    """
    found = retrieval_samples(left, right, pairs, names, metrics, Bootstrap(0))
    return {name: float(values[0]) for name, values in found.items()}


def retrieval_samples(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    pairs: Integer[np.ndarray, "p 2"],
    names: tuple[str, str],
    metrics: Sequence[str],
    bootstrap: Bootstrap,
    memory: int = SCORE_BYTES,
    asking: Asking | None = None,
) -> Samples:
    """Return the samples of each metric: the mean of both directions first; see ``retrieval``.

    What is resampled is groups of items that belong together, such as a recording with all its
    captions. Queries are asked as often as their group is drawn; the gallery stays.
    """
    directions = direction_positives(left, right, pairs, names, memory, asking)
    group = groups(dict(zip(names, (len(left), len(right)), strict=True)), {names: pairs})
    asked = [np.unique(pairs[:, side]) for side in (0, 1)]
    members = [group[name][rows] for name, rows in zip(names, asked, strict=True)]
    _, numbers = np.unique(np.concatenate(members), return_inverse=True)
    of = np.split(numbers, [len(members[0])])
    measures = {
        direction: {name: measure(name, positives) for name in metrics}
        for direction, positives in directions.items()
    }
    found = _sampled(measures, dict(zip(directions, of, strict=True)), bootstrap)
    means = {name: np.mean([found[d][name] for d in directions], axis=0) for name in metrics}
    return means | {f"{name} {d}": v for d, own in found.items() for name, v in own.items()}


def class_samples(
    items: Float[np.ndarray, "n d"],
    classes: Float[np.ndarray, "c d"],
    labels: Integer[np.ndarray, "p 2"],
    metrics: Sequence[str],
    bootstrap: Bootstrap,
    memory: int = SCORE_BYTES,
) -> Samples:
    """Return the samples of each metric of zero-shot classification (Table 1).

    Args:
        items: ``[n, d]`` rows.
        classes: ``[c, d]`` rows, see ``class_rows``.
        labels: ``[p, 2]`` (item, class) rows.
        metrics: top-1 and top-5: the percentage of items one of whose classes is among the first k.
            mAP: see ``average_precisions``; classes without an item in a resample are left out of
            its mean [O].
        bootstrap: Resampling of the items.
        memory: Bytes for a block of scores.
    """
    found: Samples = {}
    if ranked := [name for name in metrics if name != MAP]:
        positives = positive_ranks(items, classes, labels, memory)
        measures = {"": {name: measure(name, positives) for name in ranked}}
        found = _sampled(measures, {"": np.arange(len(positives.best))}, bootstrap)[""]
    if MAP in metrics:
        times = np.empty((len(items), 1 + bootstrap.resamples), np.uint8)
        for number, draw in enumerate(bootstrap.draws(len(items))):
            times[:, number] = draw
        found[MAP] = _macro_mean(average_precisions(items, classes, labels, times, memory))
    return {name: found[name] for name in metrics}


def _macro_mean(precisions: Float[np.ndarray, "b c"]) -> Float[np.ndarray, " b"]:
    """Return the mean over classes with an item; NaN if there is none, as in a few resamples."""
    with np.errstate(invalid="ignore"):
        return np.nansum(precisions, axis=1) / np.sum(~np.isnan(precisions), axis=1)


def _sampled(
    measures: Mapping[str, Mapping[str, Measure]],
    group_of: Mapping[str, np.ndarray],
    bootstrap: Bootstrap,
) -> dict[str, Samples]:
    """Return direction to metric to its samples; ``group_of`` has the group of every query."""
    count = 1 + max(int(of.max(initial=-1)) for of in group_of.values())
    values: dict[str, dict[str, list[float]]] = {
        direction: {name: [] for name in own} for direction, own in measures.items()
    }
    for times in bootstrap.draws(count):
        for direction, own in measures.items():
            asked = times[group_of[direction]]
            for name, one in own.items():
                values[direction][name].append(one.of(asked))
    return {
        direction: {name: np.array(found) for name, found in own.items()}
        for direction, own in values.items()
    }
