"""Media in files of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from encoders_torch.media import Media, MediaOptions
from encoders_torch.media.segments import segment_of
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class FileMedia:
    """Media files.

    Attributes:
        folder: Paths are relative to it.
        options: How media are read.
    """

    folder: Path
    options: MediaOptions

    def __call__(self, text: str) -> Media:
        """Return the file at a path, or a segment of it: ``path#t=30,40``. Nothing is opened.

        A file that has this very name is meant itself.

        Raises:
            FreeBindError: There is no such file, and what is after the ``#`` is no segment.
        """
        whole = on_disk(self.folder, text)
        if "#" not in text or os.path.lexists(whole):
            return Media(whole, options=self.options)
        path, start, stop = segment_of(text)
        if path == text:
            raise FreeBindError(
                "a file is missing, and what is after the # is no segment",
                where=whole,
                expected="a file of this name, or seconds, such as #t=30,40, after another",
            )
        return Media(on_disk(self.folder, path), None, start, stop, self.options)


def on_disk(folder: Path, path: str) -> Path:
    """Return a path below a folder as the disk spells it: accents as in NFC or as in NFD."""
    if path.isascii():
        return folder / path
    for part in Path(path).parts:
        spelled = (folder / form for form in (part, normalize("NFC", part), normalize("NFD", part)))
        folder = next(filter(os.path.lexists, spelled), folder / part)
    return folder
