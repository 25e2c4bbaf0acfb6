"""Finding the files of a data set on the disk, whatever their suffix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fb_jax import files
from fb_jax.banks import nfc
from fb_jax.errors import FreeBindError

VIDEO = (".mp4", ".mkv", ".webm", ".avi", ".mov")
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", *VIDEO)
IMAGE = (".jpg", ".jpeg", ".png", ".webp")
SUFFIXES = {"audio": AUDIO, "image": IMAGE}
"""Suffixes of a modality. If a file is there with several, the first counts, on all machines."""

Folder = dict[str, dict[str, str]]
"""Name without suffix to the suffixes, in small letters, and the names that have them."""


@dataclass(frozen=True)
class Disk:
    """The files below a folder; each folder is listed once.

    Attributes:
        root: The folder.
    """

    root: Path
    _folders: dict[str, Folder] = field(default_factory=dict, init=False, repr=False)

    def find(
        self, folders: Iterable[str], names: Sequence[str], suffixes: Sequence[str]
    ) -> str | None:
        """Return the first file that has one of some names, relative to the root.

        A file without content, as failed downloads leave, does not count.

        Args:
            folders: Folders to look into, relative to the root.
            names: Names without a suffix, relative to the folders.
            suffixes: Suffixes in small letters.

        Raises:
            FreeBindError: A name leads out of the root, or a folder cannot be read.
        """
        for folder in folders:
            for name in names:
                path = self._inside(PurePosixPath(folder, name))
                there = self._folder(str(path.parent)).get(nfc(path.name), {})
                for suffix in (s for s in suffixes if s in there):
                    found = path.parent / there[suffix]
                    if _has_content(self.root / found):
                        return nfc(str(found))
        return None

    def _inside(self, path: PurePosixPath) -> PurePosixPath:
        if path.is_absolute() or ".." in path.parts:
            raise FreeBindError("a name leads out of the folder", where=self.root, got=path)
        return path

    def _folder(self, name: str) -> Folder:
        if name not in self._folders:
            self._folders[name] = _listed(self.root / name)
        return self._folders[name]


def _listed(folder: Path) -> Folder:
    """Return the names in a folder; none if it does not exist."""
    found: Folder = {}
    if folder.is_dir():
        with files.explained("a folder cannot be read", folder):
            for name in sorted(path.name for path in folder.iterdir()):
                stem, _, suffix = name.rpartition(".")
                found.setdefault(nfc(stem), {}).setdefault(f".{suffix.lower()}", name)
    return found


def _has_content(path: Path) -> bool:
    with files.explained("a file cannot be looked at", path):
        return path.is_file() and path.stat().st_size > 0
