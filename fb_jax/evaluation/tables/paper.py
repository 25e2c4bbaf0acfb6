"""The paper's figures of Tables 3 to 9, from ``paper.yaml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fb_jax import files
from fb_jax.errors import unknown
from fb_jax.fusion import FusedSpace

FILE = Path(__file__).with_name("paper.yaml")
MAIN = ("3", "4")
"""Tables of retrieval and of classification, with the products."""

Figures = dict[str, dict[str, dict[str, float]]]
"""Row of a table to task to metric to value, in percent."""


@dataclass(frozen=True)
class _Table:
    columns: list[str]
    rows: dict[str, list[float | None]]


@dataclass(frozen=True)
class _Paper:
    tables: dict[str, _Table]
    ours: dict[str, str]


@cache
def _paper() -> _Paper:
    found = files.read_yaml(FILE, "the paper's figures")
    return files.convert(found, _Paper, FILE, "these are not the paper's figures")


def paper_figures(*tables: str) -> Figures:
    """Return the figures of some tables of the paper, "3" to "9", together.

    Raises:
        FreeBindError: The paper has no such table.
    """
    known, found = _paper().tables, Figures()
    for number in tables:
        if number not in known:
            raise unknown("table of the paper with figures", number, known)
        for row, values in known[number].rows.items():
            by_task = found.setdefault(row, {})
            for column, value in zip(known[number].columns, values, strict=True):
                task, _, metric = column.partition(" ")
                if value is not None:
                    by_task.setdefault(task, {})[metric] = value
    return found


def paper_row(row: object) -> str:
    """Return the paper's name in Tables 3 and 4 of a native space or a fused one; "" if none.

    Args:
        row: Name of a native space, or a product at a preset's factors.
    """
    ours: Mapping[str, str] = _paper().ours
    if not isinstance(row, FusedSpace):
        return ours.get(str(row), "")
    presets = [name for name, at in row.presets.items() if dict(at) == dict(row.factors)]
    return next((ours[key] for p in presets if (key := f"{row.title}, {p}") in ours), "")
