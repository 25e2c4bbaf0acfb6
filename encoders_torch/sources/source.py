"""A source of items: a folder of media, or a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from encoders_torch.media import Media, MediaOptions, suffixes
from encoders_torch.sources.folder import find_media
from encoders_torch.sources.lists import LISTS, OpenList
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

TEXT = "text"


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Attributes:
        turn: Turn pictures as their EXIF data say; no encoder's authors do.
        frame_at: Second at which a video's frame is taken as its picture. The middle if not given.
    """

    turn: bool = False
    frame_at: float | None = None

    @property
    def media(self) -> MediaOptions:
        """How media are read."""
        return MediaOptions(self.turn, self.frame_at)


PLAIN = SourceOptions()
AS_THEY_ARE = PLAIN.media


@dataclass(frozen=True)
class Source:
    """Items of one modality.

    Attributes:
        items: Each has an ``id`` and a ``caption`` or ``path``. They may be iterated several times.
        folder: Paths are relative to it; None for captions.
        options: How media are read.
    """

    items: Iterable[Item]
    folder: Path | None = None
    options: MediaOptions = AS_THEY_ARE

    @property
    def column(self) -> str:
        """Where an item's content is: ``caption`` or ``path``."""
        return "caption" if self.folder is None else "path"

    def content(self, item: Item) -> str | Media:
        """Return the caption or the media of an item of this source; nothing is opened."""
        text = item[self.column]
        return text if self.folder is None else Media(self.folder / text, options=self.options)


def open_source(modality: str, path: Path | str, options: SourceOptions = PLAIN) -> Source:
    """Return the items of a list in its order, or of a folder in the order of their paths.

    Args:
        modality: ``text``, ``image``, ``audio``, or another (then every file of a folder counts).
        path: A ``.txt``, ``.csv``, ``.jsonl`` or ``.parquet`` list, or a folder of media.
        options: How it is read.

    Raises:
        FreeBindError: It is missing, of another kind, or empty.
    """
    path = Path(path)
    if path.suffix.lower() in LISTS and not path.is_dir():
        column = "caption" if modality == TEXT else "path"
        folder = None if modality == TEXT else path.parent
        source = Source(OpenList(path, column), folder, options.media)
    elif modality == TEXT or not path.is_dir():
        raise FreeBindError(
            f"there is no such source of {modality}", where=path, expected=_wanted(modality)
        )
    else:
        source = Source(find_media(modality, path), path, options.media)
    for _ in source.items:
        return source
    raise FreeBindError(f"there is no {modality} here", where=path, expected=_wanted(modality))


def _wanted(modality: str) -> str:
    lists = f"a list ({', '.join(LISTS)})"
    known = suffixes(modality)
    kinds = f" of {', '.join(sorted(known))}" if known else ""
    return lists if modality == TEXT else f"{lists}, or a folder{kinds}"
