"""Pair tables from files of other programs: rows of two modalities that belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import ItemList, Split, nfc, write_items
from fb_jax.banks.pair_tables import check_pairs, pair_key, require_two
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.importing.pair_tables import Asked, Value, read_pair_columns

NUMBER = re.compile(r"[ \t]*-?[0-9]{1,18}[ \t]*", re.ASCII)
CLASS = "class"

By = Literal["id", "row"]


def import_pairs(
    split: Split,
    left: str,
    right: str,
    source: Path | str,
    *,
    left_column: str | None = None,
    right_column: str | None = None,
    by: By | None = None,
    append: bool = False,
    say: Callable[[str], None] = notice_once,
) -> Integer[np.ndarray, "p 2"]:
    """Store which rows of two modalities belong together.

    Args:
        split: A split with item lists of both modalities. A list of classes is made from their
            names if it is missing.
        left: Modality of the first column.
        right: Modality of the second column; ``class`` for labels.
        source: ``.npy`` (row numbers ``[p, 2]``), ``.csv``, ``.tsv``, ``.jsonl``, Parquet or Arrow
            with two columns of ids or row numbers from 0.
        left_column: Name of the first column; None takes the one that is named as the modality,
            otherwise the first that is not the other.
        right_column: Name of the second column.
        by: What the values are; None takes ids if all are ids, and row numbers if all are numbers.
        append: Add the pairs to the table that is there; those that it has are left out.
        say: Called with a line for each thing that was chosen without being asked for.

    Returns:
        The table as stored: columns in alphabetical order of the modalities.

    Raises:
        FreeBindError: The table cannot be read, a value is neither an id nor a row number or could
            be both, or a row number lies past an item list; the modalities are the same; a column
            that nobody named is called as another modality.
    """
    source = Path(source)
    require_two((left, right), source, "name the two modalities with --left and --right")
    sides = [_Side.of(split, modality) for modality in (left, right)]
    asked = (left_column, right_column)
    columns = read_pair_columns(source, asked, (left, right), partial(_could_be_pair, sides))
    _require_own_columns(columns.names, asked, sides, split, source)
    values = (columns.left, columns.right)
    sides = [side.named(column, by, source) for side, column in zip(sides, values, strict=True)]
    rows = [side.rows(column, by, source) for side, column in zip(sides, values, strict=True)]
    names = [f"column `{name}`" for name in columns.names] or ["first column", "second column"]
    for side, name, (_, reading) in zip(sides, names, rows, strict=True):
        say(f"{side.modality}: {name}, {reading}")
    table = np.array([numbers for numbers, _ in rows], np.int64).reshape(2, -1).T
    check_pairs(table, [side.count for side in sides], source)
    return _store(split, sides, table, append=append)


def _require_own_columns(
    names: Sequence[str], asked: Asked, sides: list[_Side], split: Split, where: Path
) -> None:
    """Raise a FreeBindError if a column that nobody named is called as another modality."""
    known = {path.stem for path in split.path.glob("items/*.jsonl")}
    options = ("--left-column", "--right-column")
    for name, given, side, option in zip(names, asked, sides, options, strict=False):
        if given is None and name in known - {side.modality}:
            raise FreeBindError(
                f"the table has columns {', '.join(names)}; none is called {side.modality}",
                where=where,
                expected=f"a column {side.modality}, or one that is not called as a modality",
                fix=f"if column {name} does say which {side.modality}: {option} {name}",
            )


def _store(
    split: Split, sides: list[_Side], table: Integer[np.ndarray, "p 2"], *, append: bool
) -> Integer[np.ndarray, "q 2"]:
    left, right = (side.modality for side in sides)
    with split.writing():
        for side in sides:
            if side.new:
                items = ({"id": name, "caption": name} for name in side.ids)
                write_items(split.items_path(side.modality), items)
        if append:
            split.append_pairs(left, right, table)
            return split.read_pairs(*pair_key(left, right))
        if (path := split.pairs_path(left, right)).exists():
            notice_once(f"{path}: replaces the table that was here")
        split.write_pairs(left, right, table)
        return split.read_pairs(*pair_key(left, right))


@dataclass(frozen=True)
class _Side:
    """One side of the pairs.

    Attributes:
        modality: Its modality.
        ids: Id, in NFC, to row; of classes also names.
        count: Number of items.
        new: The list does not exist yet: the names of classes are in the table alone.
    """

    modality: str
    ids: Mapping[str, int]
    count: int
    new: bool = False

    @classmethod
    def of(cls, split: Split, modality: str) -> _Side:
        if modality == CLASS and not split.items_path(modality).exists():
            return cls(modality, {}, 0, new=True)
        items = split.items(modality)
        return cls(modality, _ids(items, captions=modality == CLASS), len(items))

    def knows(self, cell: str) -> bool:
        """Whether a cell could be a value of this side."""
        return bool(NUMBER.fullmatch(cell)) or nfc(cell) in self.ids

    def named(self, values: list[Value], by: By | None, where: Path) -> _Side:
        """Return the side of classes with their names, sorted, if it has no list yet.

        Raises:
            FreeBindError: The classes are numbers, which name nothing.
        """
        if not self.new:
            return self
        if by != "id" and _numbers(values) is not None:
            raise FreeBindError(
                "an item list is missing",
                where=where,
                expected="names of classes, or the list items/class.jsonl that numbers stand for",
                got=f"numbers, such as {values[0]}",
                fix="if these numbers are the names of the classes: --by id",
            )
        names = sorted({str(value) for value in values})
        ids = {name: row for row, name in enumerate(names)}
        return _Side(self.modality, ids, len(names), new=True)

    def rows(self, values: list[Value], by: By | None, where: Path) -> tuple[list[int], str]:
        """Return the rows that values stand for, and what the values are.

        Raises:
            FreeBindError: They stand for nothing, or could be ids and row numbers.
        """
        numbers = None if by == "id" else _numbers(values)
        named = [self.ids.get(str(value), -1) for value in values]
        by_row = by == "row" and (numbers is not None or self.modality != CLASS)
        if by_row or -1 in named:
            if numbers is None:
                raise self._stray(values, by, where)
            return numbers, "row numbers"
        if numbers is None or numbers == named or not self._has(numbers):
            return named, "ids"
        at = int(np.flatnonzero(np.not_equal(numbers, named))[0])
        raise FreeBindError(
            f"the values of {self.modality} could be ids or row numbers, which differ",
            where=where,
            got=f"{values[at]!r}: row {numbers[at]}, or the id of row {named[at]}",
            fix="say what they are: --by id or --by row",
        )

    def _has(self, rows: list[int]) -> bool:
        return min(rows) >= 0 and max(rows) < self.count

    def _stray(self, values: list[Value], by: By | None, where: Path) -> FreeBindError:
        """Return the error for values that are not all of one kind."""
        unnamed = [value for value in values if by == "row" or str(value) not in self.ids]
        strange = [v for v in unnamed if by == "id" or _numbers([v]) is None] or unnamed
        expected = {"id": "ids", "row": "row numbers", None: "ids alone, or row numbers alone"}[by]
        return FreeBindError(
            f"{strange[0]!r} is no item of {self.modality}",
            where=where,
            expected=expected,
            got=f"{len(strange)} such values of {len(values)}",
        )


def _could_be_pair(sides: list[_Side], *cells: str) -> bool:
    """Return whether the first line of a text is a pair; otherwise it names the columns."""
    return any(side.knows(cell) for side, cell in zip(sides, cells, strict=True))


def _ids(items: ItemList, *, captions: bool) -> dict[str, int]:
    """Return id, in NFC, to row; also caption to row, where it is no id and of one item alone."""
    named: dict[str, list[int]] = {}
    for row, item in items.present() if captions else ():
        if isinstance(name := item.get("caption"), str):
            named.setdefault(nfc(name), []).append(row)
    alone = {name: rows[0] for name, rows in named.items() if len(rows) == 1}
    return alone | {nfc(item["id"]): row for row, item in items.present()}


def _numbers(values: list[Value]) -> list[int] | None:
    """Return values as numbers; None if one is none."""
    if all(NUMBER.fullmatch(str(value)) for value in values):
        return [int(value) for value in values]
    return None
