"""What is to be encoded: a folder tree of media, or captions, as items in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

SUFFIXES = {
    "audio": {".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav"},
    "image": {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"},
}


@dataclass(frozen=True)
class Source:
    """Items of one modality.

    Attributes:
        items: As item lists hold them, with an ``id`` and a ``caption`` or ``path``.
        folder: What paths are relative to; None for captions.
    """

    items: Sequence[Item]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> str | Path:
        """Return what an encoder reads: a caption, or the path of a file."""
        item = self.items[row]
        return item["caption"] if self.folder is None else self.folder / item["path"]


def open_source(modality: str, path: Path) -> Source:
    """Return the items of a folder tree (in the order of their paths), or of a text file.

    Args:
        modality: ``text``, ``image`` or ``audio``.
        path: Of a ``.txt`` with a caption a line, or of a folder.

    Raises:
        FreeBindError: It is missing, of the other kind, or empty.
    """
    source = _captions(path) if modality == "text" else _media(modality, path)
    if not len(source):
        raise FreeBindError(f"there is no {modality} here", where=path, expected=_wanted(modality))
    return source


def _wanted(modality: str) -> str:
    return "a caption a line" if modality == "text" else ", ".join(sorted(SUFFIXES[modality]))


def _captions(path: Path) -> Source:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FreeBindError(
            "captions cannot be read", where=path, expected="a UTF-8 text file", got=error
        ) from error
    return Source([{"id": str(row), "caption": line} for row, line in enumerate(lines)])


def _media(modality: str, folder: Path) -> Source:
    if not folder.is_dir():
        raise FreeBindError(f"there is no such folder of {modality} files", where=folder)
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES[modality])
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    return Source([{"id": name, "path": name} for name in names], folder)
