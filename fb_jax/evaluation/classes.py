"""Classes as one more modality of a space: the row of a class is the mean of its prompts' rows.

A split with labels has a pair table between its media and ``class``, and one between ``class`` and
``text``: the prompts of each class, one text item for each template (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32, Integer

from fb_jax.banks import BankSet, Rows, unit_rows
from fb_jax.banks.rows import blocks_of
from fb_jax.errors import FreeBindError

CLASS, TEXT = "class", "text"


class ClassSums:
    """Sums of the prompts' rows of each class, block by block.

    Args:
        table: ``[p, 2]`` (class, text) rows; every class from 0 to the last has a prompt.

    Raises:
        FreeBindError: A class has no prompt.
    """

    def __init__(self, table: Integer[np.ndarray, "p 2"]) -> None:
        _require_prompts(table, table[:, 0])
        self._table = table[np.argsort(table[:, 1], kind="stable")]
        self._sums: np.ndarray | None = None

    def add(self, start: int, block: Float[np.ndarray, "b d"]) -> None:
        """Add a block of prompts' rows; it begins with row ``start`` of the texts."""
        if self._sums is None:
            shape = (int(self._table[:, 0].max()) + 1, block.shape[1])
            self._sums = np.zeros(shape, np.float32)
        first, last = np.searchsorted(self._table[:, 1], [start, start + len(block)])
        owner, text = self._table[first:last].T
        np.add.at(self._sums, owner, block[text - start])

    def rows(self) -> Float32[np.ndarray, "c d"]:
        """Return the unit mean of each class."""
        assert self._sums is not None
        return unit_rows(self._sums)


def class_rows(prompts: Rows, table: Integer[np.ndarray, "p 2"]) -> Float32[np.ndarray, "c d"]:
    """Return the unit mean of the unit rows of each class's prompts, as CLIP averages templates.

    Args:
        prompts: ``[n, d]`` unit rows of texts, read once, block by block.
        table: ``[p, 2]`` (class, text) rows; every class from 0 to the last has a prompt.

    Raises:
        FreeBindError: A class has no prompt.
    """
    sums = ClassSums(table)
    for start, block in blocks_of(prompts):
        sums.add(start, block)
    return sums.rows()


def with_classes(
    rows: Mapping[str, Float32[np.ndarray, "n d"]], banks: BankSet
) -> dict[str, Float32[np.ndarray, "n d"]]:
    """Return the rows of a space with those of the classes, if the split has prompts of them."""
    if TEXT not in rows or not has_prompts(banks):
        return dict(rows)
    return {**rows, CLASS: class_rows(rows[TEXT], prompt_table(banks))}


def prompt_table(banks: BankSet) -> Integer[np.ndarray, "p 2"]:
    """Return the (class, text) rows of the prompts with an embedding of a split with prompts.

    Raises:
        FreeBindError: A class that has labels or prompts has none with an embedding.
    """
    table = banks.pairs(CLASS, TEXT)
    labels = [banks.pairs(m, CLASS)[:, 1] for m in labelled(banks)]
    known = np.concatenate([banks.split.read_pairs(CLASS, TEXT)[:, 0], *labels])
    _require_prompts(table, known, banks.split.path)
    return table


def _require_prompts(
    table: Integer[np.ndarray, "p 2"], known: Integer[np.ndarray, " c"], where: object = None
) -> None:
    """Raise a FreeBindError unless every class from 0 to the last known one has a prompt."""
    lacking = np.setdiff1d(np.arange(known.max(initial=0) + 1), table[:, 0])
    if len(lacking):
        raise FreeBindError(
            "some classes have no prompt with an embedding",
            where=where,
            expected="a text item for every class in the table class-text",
            got=f"none for {len(lacking)} classes, the first is row {lacking[0]}",
            fix="export the texts of this split again",
        )


def has_prompts(banks: BankSet) -> bool:
    """Return whether a split has texts that are prompts of classes."""
    return TEXT in banks.rows and banks.has_pairs(CLASS, TEXT)


def labelled(banks: BankSet) -> list[str]:
    """Return the media whose items have labels and can be classified: the classes have prompts."""
    if not has_prompts(banks):
        return []
    return [m for m in banks.rows if m != TEXT and banks.has_pairs(m, CLASS)]
