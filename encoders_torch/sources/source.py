"""A source of items, and the content of each: a caption, or media."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from encoders_torch.media import Media, MediaOptions
from encoders_torch.sources.files import FileMedia
from encoders_torch.sources.table import FAULT
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

AS_THEY_ARE = MediaOptions()


@dataclass(frozen=True)
class Source:
    """Items of one modality.

    Attributes:
        items: Each has an ``id`` and a ``caption`` or ``path``. They may be iterated several times.
        folder: Paths are relative to it; None for captions.
        options: How media are read.
        find: Returns the media of a path that is no file of its own, such as a member of a tar.
            Worker processes call it, so it keeps no file open.
        path: Where the items are, for messages.
    """

    items: Iterable[Item]
    folder: Path | None = None
    options: MediaOptions = AS_THEY_ARE
    find: Callable[[str], Media] | None = None
    path: Path | None = None

    @property
    def column(self) -> str:
        """Where an item's content is: ``caption`` or ``path``."""
        return "caption" if self.folder is None else "path"

    def how(self, modality: str) -> str:
        """Return how pictures are read, to be added to an encoder's name."""
        return "" if modality in ("audio", "text") else self.options.describe()

    def content(self, item: Item) -> str | Media:
        """Return the caption or the media of an item, found by its text alone.

        Raises:
            FreeBindError: It has no content: its row was broken, or is empty.
        """
        if fault := item.get(FAULT):
            raise FreeBindError(fault)
        text: str = item.get(self.column) or ""
        if not text.strip():
            raise FreeBindError(f"the {self.column} is empty")
        if self.folder is None:
            return text
        return (self.find or FileMedia(self.folder, self.options))(text)
