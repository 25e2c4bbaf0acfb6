"""Media in cells of a table: bytes, or bytes with a path, as Hugging Face stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders_torch.media import Media, MediaOptions
from encoders_torch.sources.files import FileMedia
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra


def holds_media(kind: Any) -> bool:
    """Return whether a column of an Arrow type holds media: binary, or ``{"bytes", "path"}``."""
    types = import_extra("pyarrow", "parquet").types
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def media_in(cell: Any, text: str, folder: Path, options: MediaOptions) -> Media:
    """Return the media of a cell.

    Args:
        cell: Bytes, or a dictionary of ``bytes`` and ``path``.
        text: The item's path, for messages.
        folder: A path without bytes is relative to it.
        options: How media are read.

    Raises:
        FreeBindError: The cell is null.
    """
    cell = {"bytes": cell} if isinstance(cell, bytes) else cell or {}
    data, path = cell.get("bytes"), cell.get("path")
    if data is not None:
        name = Path(text, Path(path).name) if path else Path(text)
        return Media(name, data, options=options)
    if path:
        return FileMedia(folder, options)(path)
    raise FreeBindError("the cell is null", where=text)


def row_in(text: str) -> tuple[str, int]:
    """Split ``NAME#ROW``.

    Raises:
        FreeBindError: It has another form.
    """
    name, _, row = text.rpartition("#")
    if not (name and row.isdecimal()):
        raise FreeBindError("this names no row of a table", expected="NAME#ROW", got=text)
    return name, int(row)
