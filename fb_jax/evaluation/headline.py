"""The one metric of a task by which it is swept, and factors are chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Integer

from fb_jax.evaluation.bilinear import Mixture
from fb_jax.evaluation.class_surfaces import precision_surface
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.retrieval import classification, retrieval

R1, TOP1, MAP = "R@1", "top-1", "mAP"


def metric_of(pair: tuple[str, str], table: Integer[np.ndarray, "p 2"]) -> str:
    """Return R@1; of media and classes top-1, or mAP if an item has several labels (Table 1)."""
    if pair[1] != CLASS:
        return R1
    return TOP1 if len(np.unique(table[:, 0])) == len(table) else MAP


def headline(
    model: Mapping[str, Float32[np.ndarray, "n d"]],
    pair: tuple[str, str],
    table: Integer[np.ndarray, "p 2"],
) -> float:
    """Return the value in percent of the metric of a task.

    Args:
        model: Modality, or "class", to rows ``[n, d]``.
        pair: Two of them.
        table: ``[p, 2]`` rows of both that belong together.
    """
    left, right = (model[m] for m in pair)
    metric = metric_of(pair, table)
    if metric == R1:
        return retrieval(left, right, table, metrics=[R1])[R1]
    if metric == TOP1:
        return classification(left, right, table)[TOP1]
    return float(precision_surface(Mixture.fixed(left), [Mixture.fixed(right)], table)[0, 0])
