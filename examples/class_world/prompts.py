"""How much the words around a class's name matter: each template by itself, and all averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fb_jax.banks import BankSet
from fb_jax.evaluation import Bootstrap, Cell
from fb_jax.evaluation.classes import CLASS, TEXT, class_rows, labelled
from fb_jax.evaluation.retrieval import class_samples
from fb_jax.evaluation.spaces import Row, Space, models_of
from fb_jax.evaluation.tasks import class_metrics

AVERAGED = "all averaged"


class Prompted(NamedTuple):
    """A figure with some prompts, and what averaging all prompts adds to it, in points."""

    figure: Cell
    averaging: Cell


def by_template(
    rows: Mapping[str, Row], banks: BankSet, templates: list[str]
) -> dict[str, dict[str, Prompted]]:
    """Return how well models classify with one template, and with the mean of all.

    Args:
        rows: Name to what is compared; see ``tabulate``.
        banks: A split with labels.
        templates: Its templates, in the order of its prompts.

    Returns:
        Row to template to the first metric of the split, top-1 or mAP in percent. Models without
        the modality of the items are left out.
    """
    (modality,) = labelled(banks)
    models = models_of(rows, banks).items()
    return {row: _of_model(m, modality, banks, templates) for row, m in models if modality in m}


def _of_model(
    model: Space, modality: str, banks: BankSet, templates: list[str]
) -> dict[str, Prompted]:
    labels, prompts = banks.pairs(modality, CLASS), banks.pairs(CLASS, TEXT)
    items, text, metric = model[modality], model[TEXT], class_metrics(labels)[0]
    number = prompts[:, 1] % len(templates)
    parts = {name: prompts[number == k] for k, name in enumerate(templates)} | {AVERAGED: prompts}
    samples = {
        name: class_samples(items, class_rows(text, part), labels, [metric], Bootstrap())[metric]
        for name, part in parts.items()
    }
    mean: np.ndarray = samples[AVERAGED]
    return {name: Prompted(Cell.of(own), Cell.of(mean - own)) for name, own in samples.items()}
