"""Reading two columns of pairs: from ``.npy``, ``.csv``, ``.tsv``, ``.jsonl``, Parquet or Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.banks import nfc
from fb_jax.banks.pair_tables import check_pairs
from fb_jax.errors import FreeBindError, unknown
from fb_jax.importing.lists import open_columns
from fb_jax.importing.source import reading

Value = int | str
Asked = tuple[str | None, str | None]
"""Names of the left and the right column; None takes the usual one, otherwise the first."""

Usual = tuple[str, str]
"""Names that the columns have if nobody names them: the modalities."""

IsValue = Callable[[str, str], bool]
"""Whether two cells could be a pair; if not, they name the columns."""


@dataclass(frozen=True)
class PairColumns:
    """Two columns of equal length, a pair a row.

    Attributes:
        names: Of the two columns; empty if they have none.
        left: Values of the left column.
        right: Values of the right column.
    """

    names: tuple[str, ...]
    left: list[Value]
    right: list[Value]


def read_pair_columns(path: Path, asked: Asked, usual: Usual, is_value: IsValue) -> PairColumns:
    """Read two columns; a cell that is a list stands for several pairs.

    Raises:
        FreeBindError: The table is missing, damaged, of another kind, or lacks a column.
    """
    with reading("a pair table cannot be read", path):
        if path.suffix.lower() == ".npy":
            table = files.read_npy(path, "a pair table")
            check_pairs(table, [np.iinfo(np.int64).max] * 2, path)
            return PairColumns((), *table.T.tolist())
        if path.suffix.lower() in files.DELIMITERS:
            names, rows = _delimited(path, asked, usual, is_value)
        else:
            names, rows = _columns(path, asked, usual)
        found = [pair for n, row in enumerate(rows) for pair in _pairs(row, f"{path}, row {n}")]
    return PairColumns(names, [left for left, _ in found], [right for _, right in found])


def _delimited(
    path: Path, asked: Asked, usual: Usual, is_value: IsValue
) -> tuple[tuple[str, ...], Iterator[tuple[Any, Any]]]:
    """Return the columns of a text: a first line that is no pair names them."""
    first = next((line for _, line in files.read_cells(path)), [])
    named = asked != (None, None) or (len(first) > 1 and not is_value(first[0], first[1]))
    names = two_columns(first, asked, usual, path) if named else ()
    at = [first.index(name) for name in names] or [0, 1]
    width = len(first) if named else 2

    def rows() -> Iterator[tuple[Any, Any]]:
        for number, line in islice(files.read_cells(path), 1 if named else 0, None):
            if len(line) != width:
                raise FreeBindError(
                    "a line has another number of cells",
                    where=f"{path}, line {number}",
                    expected=width,
                    got=len(line),
                    fix=None if named else "name the columns in the first line",
                )
            yield line[at[0]], line[at[1]]

    return names, rows()


def _columns(
    path: Path, asked: Asked, usual: Usual
) -> tuple[tuple[str, ...], Iterator[tuple[Any, Any]]]:
    columns = open_columns(path)
    left, right = two_columns(list(columns.types), asked, usual, path)
    return (left, right), ((row.get(left), row.get(right)) for row in columns.rows(left, right))


def two_columns(known: list[str], asked: Asked, usual: Usual, path: Path) -> tuple[str, str]:
    """Return the names of the two columns: those asked for, the usual ones, or the first ones.

    Raises:
        FreeBindError: There are fewer than two, or no such column.
    """
    for name in asked:
        if name is not None and name not in known:
            raise unknown("column", name, known, path)
    there = [name if name in known and name not in asked else None for name in usual]
    asked = (asked[0] or there[0], asked[1] or there[1])
    free = iter([name for name in known if name and name not in asked])  # pandas' index has none
    left, right = (name if name is not None else next(free, None) for name in asked)
    if left is None or right is None or left == right:
        raise FreeBindError(
            "a pair table has the wrong form",
            where=path,
            expected="two columns",
            got=", ".join(known) or "none",
        )
    return left, right


def _pairs(row: tuple[Any, Any], where: str) -> Iterable[tuple[Value, Value]]:
    sides = [side if isinstance(side, list) else [side] for side in row]
    for value in (value for side in sides for value in side):
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            raise FreeBindError(
                "a pair is malformed", where=where, expected="ids or row numbers", got=list(row)
            )
    left, right = ([nfc(v) if isinstance(v, str) else v for v in side] for side in sides)
    return product(left, right)
