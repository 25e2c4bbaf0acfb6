"""Tables whose rows are items: lists, archives and data sets, all read in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders_torch.sources.options import SourceOptions
from fb_jax.banks.columns import NO_COLUMN, USUAL, usual_column
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError, notice_once, unknown

TEXT = "text"
FAULT = "fault"
"""Key of an item that says why its row could not be read."""

LONGEST_SHOWN = 80

NUMBERED = f" (for none: --id-column {NO_COLUMN})"


class Fault(str):
    """Why a row cannot be read, instead of the row."""


Row = dict[str, Any] | Fault


@dataclass(frozen=True)
class Table:
    """Rows of named columns, read when they are asked for.

    Attributes:
        path: Where they are, for messages.
        columns: Names of the columns.
        read: Returns the rows, of which only some columns are needed, from the first one.
        content: Column of the content, if the kind of table has one of its own.
        id_column: The same of the ids.
    """

    path: Path
    columns: Sequence[str]
    read: Callable[[tuple[str, ...]], Iterator[Row]]
    content: str | None = None
    id_column: str | None = None


@dataclass(frozen=True)
class TableItems:
    """The items of a table. Every iteration reads it again.

    A row that cannot be read, or whose content is no text, stays an item, so that the others keep
    their rows: it has no content, and says why under ``fault``. So every row has an item.

    Attributes:
        table: The table.
        contents: Columns of the content: one, or several for several captions in a row.
        field: Field of the content: ``caption`` or ``path``.
        id_column: Column of the ids. Without it, a path is its own id, and a caption's is the
            number of its row.
    """

    table: Table
    contents: tuple[str, ...]
    field: str
    id_column: str | None

    def __iter__(self) -> Iterator[Item]:
        names = self.contents if self.id_column is None else (self.id_column, *self.contents)
        for number, row in enumerate(self.table.read(tuple(dict.fromkeys(names)))):
            yield from self._items(number, row)

    def _items(self, number: int, row: Row) -> Iterator[Item]:
        if isinstance(row, Fault):
            yield self._broken(number, row)
            return
        name = _text(None if self.id_column is None else row.get(self.id_column), "the id")
        cells = [row.get(column) for column in self.contents]
        values = [value for cell in cells for value in self._values(cell)]
        texts = [_text(value, f"the {self.field}") for value in values]
        if isinstance(name, Fault):
            yield self._broken(number, name)
        elif len(cells) > 1 or (values and values != cells):
            for place, text in enumerate(texts or [""]):
                yield self._item(f"{name or number}#{place}", text)
        else:
            text = texts[0] if texts else ""
            own = text if self.field == "path" and not isinstance(text, Fault) else ""
            yield self._item(name or own or str(number), text)

    def _values(self, cell: Any) -> list[Any]:
        """Return the captions in a cell, which may be a list of them, or the path."""
        return cell if self.field == "caption" and isinstance(cell, list) else [cell]

    def _broken(self, number: int, fault: Fault) -> Item:
        """Return the item of a row whose id is unknown; it must not be that of another row."""
        return self._item(str(number) if self.id_column is None else f"row {number}", fault)

    def _item(self, name: str, text: str) -> Item:
        if isinstance(text, Fault):
            return {"id": name, self.field: "", FAULT: str(text)}
        return {"id": name, self.field: text}


def _text(value: Any, what: str) -> str:
    """Return a value as text, empty if it is null; a ``Fault`` if it is none."""
    if value is None or value != value:  # NaN, as pandas writes null
        return ""
    if what == "the id" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return Fault(f"{what} is no text: {value!r:.{LONGEST_SHOWN}}")
    try:
        value.encode()
    except UnicodeEncodeError:
        return Fault(f"{what} is no valid Unicode: {value!a:.{LONGEST_SHOWN}}")
    return value


def items_of(table: Table, modality: str, options: SourceOptions) -> TableItems:
    """Return the items of a table: in the columns that are asked for, or those of usual names.

    Raises:
        FreeBindError: There is no such column, or none of a usual name.
    """
    asked = options.caption_column if modality == TEXT else _one(options.path_column)
    named = None if options.id_column == NO_COLUMN else options.id_column
    for name in (*asked, *_one(named)):
        if name not in table.columns:
            raise unknown("column", name, table.columns, table.path, _separators(table))
    field = "caption" if modality == TEXT else "path"
    contents = asked or _one(table.content or usual_column(_usual(modality), table.columns))
    if not contents:
        raise FreeBindError(
            f"a list has no {field}",
            where=table.path,
            expected=f"text under one of: {', '.join(_usual(modality))}",
            got=f"columns: {', '.join(map(str, table.columns)) or 'none'}",
            fix=_separators(table) or f"name the column: --{field}-column",
        )
    ids = named or table.id_column
    if options.id_column is None:
        ids = ids or usual_column(USUAL["id"], table.columns)
    _say(table, field, asked, contents, _usual(modality))
    _say(table, "id", _one(options.id_column), _one(ids), USUAL["id"])
    return TableItems(table, contents, field, ids)


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _usual(modality: str) -> tuple[str, ...]:
    """Return usual names of the column of a modality; a path may name another modality's media."""
    if modality == TEXT:
        return USUAL["caption"]
    others = {f"{other}_path" for other in ("audio", "image")} | {"url"}
    paths = [name for name in USUAL["path"] if name not in others]
    return (modality, f"{modality}_path", *paths)


def _separators(table: Table) -> str | None:
    """Return what separates columns, if a list seems to have another separator."""
    wrong = len(table.columns) == 1 and set(",;|\t") & set(table.columns[0])
    if not wrong or table.path.suffix.lower() not in (".csv", ".tsv"):
        return None
    return "separate the columns of a .csv by commas, or those of a .tsv by tabs"


def _say(
    table: Table, field: str, asked: Sequence[str], found: Sequence[str], usual: Sequence[str]
) -> None:
    """Say which column was taken without being asked for, unless only that of this name fits."""
    fitting = [column for column in table.columns if column.lower() in usual]
    if not found or asked or found[0] in (table.content, table.id_column) or fitting == [field]:
        return
    what = "media" if field == "path" else f"{field}s"
    notice_once(f"{table.path}: {what} from column `{found[0]}`{NUMBERED * (field == 'id')}")
