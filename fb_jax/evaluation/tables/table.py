"""A table of several models on several tasks, with intervals and the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from fb_jax.evaluation.bootstrap import around
from fb_jax.evaluation.tasks import Task

DIGITS = 4
"""Decimals of a figure in CSV, and before it is rounded to one."""


def rounded(value: float, sign: Literal["", "+"] = "") -> str:
    """Return a figure with one decimal, halves away from 0, as all tables and differences show it.

    It is rounded to four decimals first, so that the noise of floats decides no half.
    """
    exact = Decimal(str(round(value, DIGITS)))
    return f"{exact.quantize(Decimal('0.1'), ROUND_HALF_UP):{sign}}"


class Cell(NamedTuple):
    """A figure and the bounds of its 95 % interval; without resamples they are the figure."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Float[np.ndarray, " b"]) -> Cell:
        """Return the cell of a value followed by its values on resamples."""
        value, resampled = float(samples[0]), samples[1:]
        return cls(value, *(around(value, resampled) if len(resampled) else (value, value)))


def _best(metric: str) -> Any:
    """Return min or max: which cells, or values, of a metric are best."""
    return min if metric == "median rank" else max


Cells = Mapping[str, Mapping[str, Mapping[str, Cell]]]
"""Row to task to metric to cell; what cannot be measured is left out."""


@dataclass(frozen=True, eq=False)
class TaskTable:
    """Figures of some models on some tasks.

    Attributes:
        cells: Row to task to metric to cell; also for each direction, ``R@1 audio->text``.
        tasks: The tasks, in the order of the columns.
        title: Title of the table.
        paper: Row to task to metric to the paper's figure, for rows that the paper has.
        items: Task to the number of items that were asked, such as recordings and captions.
        samples: Row to task to metric to the values on the resamples, for paired comparisons.
        about: What the figures were computed from.
        notes: Lines below the table, such as the factors of its rows.
    """

    cells: Cells
    tasks: tuple[Task, ...]
    title: str = ""
    paper: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[tuple[Task, str]]:
        """The task and the metric of every column."""
        return [(task, metric) for task in self.tasks for metric in task.metrics]

    @property
    def measured(self) -> list[tuple[Task, str]]:
        """The columns that have figures of ours."""
        return [column for column in self.columns if self.best(*column) is not None]

    def cell(self, row: str, task: Task, metric: str) -> Cell | None:
        """Return a cell; None if it could not be measured."""
        return self.cells[row].get(task.name, {}).get(metric)

    def paper_value(self, row: str, task: Task, metric: str) -> float | None:
        """Return the paper's figure of a cell; None if it has none."""
        return self.paper.get(row, {}).get(task.name, {}).get(metric)

    def best(self, task: Task, metric: str) -> float | None:
        """Return the best value of a column; None if it is empty. A median rank is best if low."""
        cells = (self.cell(row, task, metric) for row in self.cells)
        return _best(metric)((cell.value for cell in cells if cell is not None), default=None)

    def with_best_of(self, rows: Sequence[str], name: str) -> TaskTable:
        """Return the table with one more row: in each column, the best of some rows."""
        cells: dict[str, dict[str, Cell]] = {}
        for task, metric in self.columns:
            found = [cell for row in rows if (cell := self.cell(row, task, metric)) is not None]
            if found:
                cells.setdefault(task.name, {})[metric] = _best(metric)(found)
        return replace(self, cells={**self.cells, name: cells})
