"""Tasks: what is measured on a split. The nine of the paper's Table 1, and any others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import BankSet, Split
from fb_jax.datasets import About, about_of
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.metrics import ACCURACIES, MAP

RETRIEVAL = ("R@1", "R@5")


@dataclass(frozen=True)
class Task:
    """One task: a column of a table for each of its metrics.

    Attributes:
        name: Name of the data set, or ``SPLIT LEFT-RIGHT``.
        split: Evaluation split.
        pair: Modalities; the second one is ``class`` for classification.
        metrics: Metrics that a table shows.
        paper: Number of items in the paper [P]; 0 for tasks that it does not have.
    """

    name: str
    split: str
    pair: tuple[str, str]
    metrics: tuple[str, ...] = RETRIEVAL
    paper: int = 0


def _task(name: str, left: str, right: str, paper: int, metric: str = "") -> Task:
    return Task(name, name, (left, right), (metric,) if metric else RETRIEVAL, paper)


PAPER_TASKS = {
    task.name: task
    for task in (
        _task("audiocaps", "audio", "text", 964),
        _task("clotho", "audio", "text", 1045),
        _task("vggss", "audio", "image", 5158),
        _task("flickrnet", "audio", "image", 5000),
        _task("coco", "image", "text", 5000),
        _task("flickr30k", "image", "text", 1000),
        _task("esc50", "audio", CLASS, 2000, "top-1"),
        _task("audioset", "audio", CLASS, 19048, MAP),
        _task("imagenet", "image", CLASS, 50000, "top-1"),
    )
}
"""The tasks of Table 1 by the names of their splits. The paper gives 400 for ESC-50, the size of a
fold; its figures are over all 2000 clips (their two decimals fit no smaller number)."""


def class_metrics(labels: Integer[np.ndarray, "p 2"], several: bool = False) -> tuple[str, ...]:
    """Return the metrics of labelled items: mAP if some item has several classes, else accuracy."""
    several = several or len(np.unique(labels[:, 0])) < len(labels)
    return (MAP,) if several else ACCURACIES


def data_set(banks: BankSet) -> About | None:
    """Return what a split's ``dataset.json`` says; None if it has none."""
    return about_of(banks.split) if isinstance(banks.split, Split) else None


def several_classes(banks: BankSet) -> bool:
    """Return whether a split is of a data set whose items may have several classes."""
    known = data_set(banks)
    task = PAPER_TASKS.get(known.dataset) if known else None
    return task is not None and task.metrics == (MAP,)
