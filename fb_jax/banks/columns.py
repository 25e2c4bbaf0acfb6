"""Usual names of the columns that say what items are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "key", "uid", "uuid", "item_id", "doc_id"),
    "caption": ("caption", "text", "title"),
    "path": (
        *("path", "image_path", "audio_path", "file_path", "filepath"),
        *("file", "file_name", "filename", "url"),
    ),
}
"""Field of an item to usual names of its column, in small letters."""

NO_COLUMN = "-"
"""What people give as the name of a column if none of the usual names is meant."""


def usual_column(names: Iterable[str], columns: Iterable[str]) -> str | None:
    """Return the column that has the first of some names, in small or capital letters, if any."""
    small = {column.lower(): column for column in reversed(list(columns))}
    return next((small[name] for name in names if name in small), None)
