"""Item lists from columns: of the source itself, or of a file of items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fb_jax.banks import Bank, ItemList, Split, nfc, write_items
from fb_jax.banks.columns import NO_COLUMN, USUAL, usual_column
from fb_jax.banks.items import Item, items_sha256
from fb_jax.errors import FreeBindError, unknown
from fb_jax.importing.source import Columns
from fb_jax.importing.table_files import ARROW, PARQUET, open_table_columns
from fb_jax.importing.texts import open_captions, open_delimited, open_objects

OPENERS: Mapping[str, Callable[[Path], Columns]] = {
    ".txt": open_captions,
    ".csv": open_delimited,
    ".tsv": open_delimited,
    ".jsonl": open_objects,
    **dict.fromkeys(PARQUET + ARROW, open_table_columns),
}


@dataclass(frozen=True)
class ItemColumns:
    """Columns that say what the items are. By default usual names are looked for.

    Attributes:
        id_column: Column of the ids; - numbers the items.
        caption_column: Column of the captions; - for none.
        path_column: Column of the media files or their addresses; - for none.
    """

    id_column: str | None = None
    caption_column: str | None = None
    path_column: str | None = None

    def asked(self) -> dict[str, str | None]:
        """Return each field of an item to the column that was asked for."""
        return {name: getattr(self, f"{name}_column") for name in USUAL}


@dataclass(frozen=True)
class Listed:
    """Items as some columns give them, read anew each time; nothing is written yet.

    Attributes:
        columns: Where they are.
        fields: Field of an item to its column. If there is none, the columns list no items, and
            ``bool`` gives False.
        first: Number of the first item, if they are numbered.
    """

    columns: Columns
    fields: Mapping[str, str]
    first: int = 0

    def __bool__(self) -> bool:
        return bool(self.fields)

    def __iter__(self) -> Iterator[Item]:
        chosen = dict.fromkeys(self.fields.values())
        for row, record in enumerate(self.columns.rows(*chosen)):
            yield self._item(row, record)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which columns were chosen, a line each."""
        lines = [f"{name}s: column `{column}`" for name, column in self.fields.items()]
        return tuple(lines if "id" in self.fields else ["ids: numbers of the rows", *lines])

    def _item(self, row: int, record: Mapping[str, Any]) -> Item:
        item = dict(record) if self.columns.whole else {}
        for name, column in self.fields.items():
            item[name] = _text(record.get(column), f"{self.columns.where}, row {row}, {column}")
        for name in ("caption", "path"):
            if item.get(name, "") is None:
                del item[name]
        if "id" not in self.fields:
            item["id"] = str(self.first + row)
        elif not item["id"]:
            where = f"{self.columns.where}, row {row}"
            fix = f"name another column with --id-column, or {NO_COLUMN} to number the rows"
            raise FreeBindError("an item has no id", where=where, got=dict(record), fix=fix)
        return item


def _text(value: Any, where: str) -> str | None:
    """Return a cell as text; None if it is null.

    Raises:
        FreeBindError: It is neither text nor a whole number.
    """
    if value is None or value != value:  # NaN, as pandas writes null
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FreeBindError(
            "an item is malformed", where=where, expected="text or a whole number", got=repr(value)
        )
    return str(value)


def list_items(
    source: Columns | Path | str | None, asked: ItemColumns | None = None
) -> Listed | None:
    """Return the items that columns or a file list; None without columns.

    Args:
        source: Columns, or a file: ``.txt`` (a caption a line), ``.csv``, ``.tsv``, ``.jsonl``,
            Parquet or Arrow.
        asked: Columns of the fields.

    Raises:
        FreeBindError: The file cannot be read, or has no such column, or none that is known.
    """
    asked = asked or ItemColumns()
    wanted = {n: column for n, column in asked.asked().items() if column not in (None, NO_COLUMN)}
    if source is None:
        if wanted:
            raise FreeBindError(
                "this source has no columns", got=wanted, fix="name a list of items: --items"
            )
        return None
    columns = source if isinstance(source, Columns) else open_columns(Path(source))
    fields = choose(columns, asked)
    if not fields and source is not columns:
        raise FreeBindError(
            "no column of this list is known",
            where=columns.where,
            expected="; ".join(f"{n}: {', '.join(names)}" for n, names in USUAL.items()),
            got=", ".join(columns.types) or "no column",
            fix="name them: --id-column, --caption-column, --path-column",
        )
    return Listed(columns, fields)


def open_columns(path: Path) -> Columns:
    """Open a file of items by its suffix.

    Raises:
        FreeBindError: It is missing, damaged, or of another kind.
    """
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise FreeBindError(
            "this kind of list cannot be read", where=path, expected=", ".join(OPENERS)
        )
    return opener(path)


def choose(columns: Columns, asked: ItemColumns) -> dict[str, str]:
    """Return field of an item to its column: the one asked for, or the first of a usual name."""
    chosen: dict[str, str] = {}
    for name, column in asked.asked().items():
        if column is None:
            column = usual_column(USUAL[name], columns.types) or NO_COLUMN
        elif column not in (*columns.types, NO_COLUMN):
            raise unknown("column", column, columns.types, columns.where)
        if column != NO_COLUMN:
            chosen[name] = column
    return chosen


def require_items(split: Split, modality: str, items: Listed | None, count: int) -> None:
    """Raise a FreeBindError unless items are ``count`` items with ids of their own, and no others.

    Without items the list of the split is meant, or numbers if it has none.
    """
    path = split.items_path(modality)
    wanted = _lists_of_banks(split, modality)  # first: a list is written before its banks are
    if items:
        require_count(count, _distinct(items), items.columns.where)
    elif path.exists():
        require_count(count, len(ItemList(path)), path)
    if not path.exists():
        _require_known(path, wanted, items or None)


def store_items(split: Split, modality: str, items: Listed | None, count: int) -> ItemList:
    """Write the item list of a modality unless it is there already; see ``require_items``.

    Raises:
        FreeBindError: Another list is there.
    """
    path = split.items_path(modality)
    with split.writing():
        if not items and path.exists():
            written = ItemList(path)
        else:
            numbered = ({"id": str(row)} for row in range(count))
            written = write_items(path, items or numbered)
    require_count(count, len(written), path)  # it may have come meanwhile
    return written


def _distinct(items: Listed) -> int:
    """Return the number of items.

    Raises:
        FreeBindError: Two have one id.
    """
    seen: dict[str, int] = {}
    for row, item in enumerate(items):
        if (first := seen.setdefault(nfc(item["id"]), row)) != row:
            raise FreeBindError(
                "two items have the same id",
                where=items.columns.where,
                got=f"{item['id']!r} in rows {first} and {row}",
                fix=f"name another column with --id-column, or {NO_COLUMN} to number the rows",
            )
    return len(seen)


def _lists_of_banks(split: Split, modality: str) -> set[str]:
    """Return the digests of the item lists that the banks of a modality record."""
    owners = (space for space, owned in split.spaces().items() if modality in owned)
    return {Bank.open(split.bank_path(space, modality)).items_sha256 for space in owners}


def _require_known(path: Path, wanted: set[str], items: Iterable[Item] | None) -> None:
    """Raise a FreeBindError if banks record a list that is lost, and not this one."""
    if wanted and (items is None or items_sha256(items) not in wanted):
        raise FreeBindError(
            "the item list is lost, and banks of this split rely on it",
            where=path,
            expected=f"a list with SHA-256 {', '.join(sorted(wanted))}",
            fix="restore it, or give the same list again with --items",
        )


def require_count(count: int, found: int, where: object) -> None:
    """Raise a FreeBindError unless there are as many items as rows, ``count``."""
    if found != count:
        raise FreeBindError(
            "the matrix and the item list differ in length",
            where=where,
            expected=f"{found} rows, one for each item",
            got=f"{count} rows",
        )
