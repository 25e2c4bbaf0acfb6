"""The one metric of a task by which it is swept, and factors are chosen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import BankSet
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.models import compare
from fb_jax.evaluation.spaces import Space
from fb_jax.evaluation.tasks import class_metrics, several_classes

R1 = "R@1"


def metric_of(pair: tuple[str, str], table: Integer[np.ndarray, "p 2"], banks: BankSet) -> str:
    """Return R@1; of media and classes top-1, or mAP if items may have several labels (Table 1)."""
    return class_metrics(table, several_classes(banks))[0] if pair[1] == CLASS else R1


def headline(
    model: Space, pair: tuple[str, str], table: Integer[np.ndarray, "p 2"], banks: BankSet
) -> float:
    """Return the value in percent of the metric of a task.

    Args:
        model: Modality, or "class", to rows ``[n, d]``.
        pair: Two of them.
        table: ``[p, 2]`` rows of both that belong together.
        banks: The split that they are of.
    """
    figures = compare(model, {pair: table}, [R1], several=several_classes(banks))
    return figures["-".join(pair)][metric_of(pair, table, banks)]
