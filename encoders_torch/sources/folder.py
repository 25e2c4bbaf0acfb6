"""Folders of media, at any depth."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from encoders_torch.media.suffixes import suffixes
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError


def find_media(modality: str, folder: Path) -> list[Item]:
    """Find media at any depth, without hidden files and folders, and links to folders."""
    known = suffixes(modality)
    names = []
    for parent, folders, here in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        names += [prefix + name for name in here if _wanted_file(name, known)]
    _require_unicode(names, folder)
    return [{"id": name, "path": name} for name in sorted(names)]


def _require_unicode(names: Iterable[str], folder: Path) -> None:
    """Raise a FreeBindError if a name has half a character: no item list could hold it."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise FreeBindError(
                "the name of a file is no valid Unicode", where=folder, got=repr(name)
            ) from error


def _wanted_file(name: str, known: frozenset[str]) -> bool:
    return not name.startswith(".") and (not known or Path(name).suffix.lower() in known)


def _unreadable(error: OSError) -> None:
    raise FreeBindError("a folder cannot be read", where=error.filename, got=error) from error
