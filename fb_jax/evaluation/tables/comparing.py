"""The differences of two tables that were measured on the same data, by the same protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.bootstrap import around
from fb_jax.evaluation.tables.table import rounded


@dataclass(frozen=True)
class StoredTable:
    """What ``table.json`` holds of a table; see ``rendering.plain``."""

    figures: dict[str, dict[str, dict[str, dict[str, float | None]]]]
    samples: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    title: str = ""


class Difference(NamedTuple):
    """One figure in two tables.

    Attributes:
        row: Row of both tables.
        task: Task.
        metric: Metric.
        ours: The figure of the first table.
        theirs: The figure of the second one.
        low: Lower bound of the 95 % interval of ours - theirs, over the same resamples; None if
            they were not resampled alike.
        high: Upper bound.
    """

    row: str
    task: str
    metric: str
    ours: float
    theirs: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        values = f"{rounded(self.ours)} against {rounded(self.theirs)}"
        change = _signed(self.ours - self.theirs)
        if self.low is not None and self.high is not None:
            change += f" [{_signed(self.low)}, {_signed(self.high)}]"
        return f"{self.row}, {self.task} {self.metric}: {values}: {change}"


def _signed(value: float) -> str:
    return rounded(value, "+")


def stored_table(value: Any, where: object) -> StoredTable:
    """Return a table as ``table.json`` holds it, checked.

    Raises:
        FreeBindError: It is none.
    """
    what = "these are not the results of freebind eval --tasks"
    return files.convert(value, StoredTable, where, what)


def compare_results(ours: Any, theirs: Any, where: object = None) -> list[Difference]:
    """Return how two tables differ, in the rows and tasks that both have.

    Args:
        ours: A table as ``table.json`` holds it.
        theirs: Another one.
        where: Its file, for messages.

    Raises:
        FreeBindError: It is no table; or data, protocol or templates differ.
    """
    mine, other = stored_table(ours, where), stored_table(theirs, where)
    require_comparable(mine.about, other.about, where)
    paired = mine.about.get("bootstrap") == other.about.get("bootstrap")
    return list(_differences(mine, other, paired))


def not_compared(ours: Any, theirs: Any, where: object = None) -> list[str]:
    """Return a line each for what ``compare_results`` leaves out: rows of one side, intervals."""
    mine, other = stored_table(ours, where), stored_table(theirs, where)
    sides = {
        "here": [row for row in mine.figures if row not in other.figures],
        "in the earlier results": [row for row in other.figures if row not in mine.figures],
    }
    found = [f"only {side}: {', '.join(rows)}" for side, rows in sides.items() if rows]
    lines = [f"not compared: {'; '.join(found)}"] if found else []
    how, before = mine.about.get("bootstrap"), other.about.get("bootstrap")
    if how != before:
        texts = files.differences({"resampling": how}, {"resampling": before})
        lines.append(
            "no intervals of the differences, since the items were resampled in another way: "
            f"{texts[0]}; earlier {texts[1]}"
        )
    return lines


def require_comparable(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: object) -> None:
    """Raise a FreeBindError unless data, protocol and templates of two results are the same."""
    _require_same("protocol", ours.get("protocol"), theirs.get("protocol"), where)
    mine, other = ours.get("splits", {}), theirs.get("splits", {})
    shared = [name for name in mine if name in other]
    if not shared:
        raise FreeBindError(
            "these results are of other splits",
            where=where,
            expected=", ".join(mine),
            got=", ".join(other) or "none",
        )
    for name in shared:
        here, there = (split.get("data set") or {} for split in (mine[name], other[name]))
        templates = (here.get("templates"), there.get("templates"))
        _require_same(f"templates of {name}", *templates, where)
        _require_same(f"data set of {name}", here, there, where)
        for part in ("items", "pairs", "rows"):
            _require_same(f"{part} of {name}", mine[name].get(part), other[name].get(part), where)


def _require_same(what: str, ours: Any, theirs: Any, where: object) -> None:
    if ours != theirs:
        there, here = files.differences({what: theirs}, {what: ours})
        raise FreeBindError(
            f"these results cannot be compared: the {what} differ",
            where=where,
            expected=here,
            got=there,
            fix="evaluate both again on the same data",
        )


def _differences(mine: StoredTable, other: StoredTable, paired: bool) -> Iterator[Difference]:
    for row, task, metric, ours in _values(mine):
        theirs = other.figures.get(row, {}).get(task, {}).get(metric, {}).get("value")
        if theirs is None:
            continue
        sides = [_samples(one, row, task, metric) for one in (mine, other)]
        both = paired and len(sides[0]) == len(sides[1]) > 0
        low, high = around(ours - theirs, sides[0] - sides[1]) if both else (None, None)
        yield Difference(row, task, metric, ours, theirs, low, high)


def _values(table: StoredTable) -> Iterator[tuple[str, str, str, float]]:
    """Yield row, task, metric and figure; of both directions only the mean."""
    for row, by_task in table.figures.items():
        for task, cells in by_task.items():
            for metric, cell in cells.items():
                if "->" not in metric and (value := cell.get("value")) is not None:
                    yield row, task, metric, value


def _samples(table: StoredTable, row: str, task: str, metric: str) -> np.ndarray:
    text = table.samples.get(row, {}).get(task, {}).get(metric, "")
    return np.array(text.split(), np.float64)
