"""Classes as one more modality of a space: the row of a class is the mean of its prompts' rows.

A split with labels has a pair table between its media and ``class``, and one between ``class`` and
``text``: the prompts of each class, one text item for each template (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Integer

from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError

CLASS, TEXT = "class", "text"


def class_rows(
    prompts: Float32[np.ndarray, "n d"], table: Integer[np.ndarray, "p 2"]
) -> Float32[np.ndarray, "c d"]:
    """Return the unit mean of the unit rows of each class's prompts, as CLIP averages templates.

    Args:
        prompts: ``[n, d]`` unit rows of texts.
        table: ``[p, 2]`` (class, text) rows; every class from 0 to the last has a prompt.

    Raises:
        FreeBindError: A class has no prompt.
    """
    sums = np.zeros((int(table[:, 0].max()) + 1, prompts.shape[1]), np.float32)
    np.add.at(sums, table[:, 0], prompts[table[:, 1]])
    lacking = np.setdiff1d(np.arange(len(sums)), table[:, 0])
    if len(lacking):
        raise FreeBindError(
            "some classes have no prompt with an embedding",
            expected="a text item for every class in the table class-text",
            got=f"none for {len(lacking)} classes, the first is row {lacking[0]}",
            fix="export the texts of this split again",
        )
    return unit_rows(sums)


def with_classes(
    rows: Mapping[str, Float32[np.ndarray, "n d"]], banks: BankSet
) -> dict[str, Float32[np.ndarray, "n d"]]:
    """Return the rows of a space with those of the classes, if the split has prompts of them."""
    if TEXT not in rows or not banks.has_pairs(CLASS, TEXT):
        return dict(rows)
    return {**rows, CLASS: class_rows(rows[TEXT], banks.pairs(CLASS, TEXT))}


def labelled(banks: BankSet) -> list[str]:
    """Return the media whose items have labels and can be classified: the classes have prompts."""
    if TEXT not in banks.rows or not banks.has_pairs(CLASS, TEXT):
        return []
    return [m for m in banks.rows if m != TEXT and banks.has_pairs(m, CLASS)]
