"""Folders of media, at any depth."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from encoders_torch.media.suffixes import extra_for, suffixes
from fb_jax.banks import nfc
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError, notice_once

SHOWN = 12


@dataclass(frozen=True)
class FolderItems:
    """Media in a folder. The items would take three times the memory of the names.

    Attributes:
        names: Their paths, in the order of their names in NFC, which are their ids: the same on
            macOS and Linux.
    """

    names: list[str]

    def __iter__(self) -> Iterator[Item]:
        return ({"id": nfc(name), "path": name} for name in self.names)


def find_media(modality: str, folder: Path) -> tuple[FolderItems, Counter[str]]:
    """Find media at any depth, without hidden files and folders, and links to folders.

    Returns:
        The items, and how many files nothing reads, by suffix.

    Raises:
        FreeBindError: A folder cannot be read, a name is no Unicode, or two names differ only in
            how they spell accents.
    """
    known = suffixes(modality)
    names, unread = [], Counter[str]()
    for name in _files(folder):
        suffix = Path(name).suffix.lower()
        if known and suffix not in known:
            unread[suffix] += 1
        else:
            names.append(name)
    _require_unicode(names, folder)
    names.sort(key=nfc)
    _require_different(names, folder)
    return FolderItems(names), unread


def shards_in(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix right in a folder, without hidden ones, in order."""
    found = (path for path in folder.glob("[!.]*") if path.suffix.lower() == suffix)
    return sorted(found, key=lambda path: nfc(path.name))


def say_unread(where: object, modality: str, unread: Counter[str]) -> None:
    """Say how many files were left unread, by suffix, and which extra reads them."""
    if unread:
        most = unread.most_common(SHOWN)
        rest = unread.total() - sum(count for _, count in most)
        listed = [_counted(*pair, modality) for pair in most] + [f"{rest} others"] * (rest > 0)
        notice_once(f"{where}: left unread as {modality}: {', '.join(listed)}")


def _counted(suffix: str, count: int, modality: str) -> str:
    extra = extra_for(suffix, modality)
    needs = f" (needs the extra {extra})" if extra else ""
    return f"{count} {suffix or 'without a suffix'}{needs}"


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, here in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        yield from (prefix + name for name in here if not name.startswith("."))


def _require_unicode(names: Iterable[str], folder: Path) -> None:
    """Raise a FreeBindError if a name has half a character: no item list could hold it."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise FreeBindError(
                "the name of a file is no valid Unicode", where=folder, got=repr(name)
            ) from error


def _require_different(names: list[str], folder: Path) -> None:
    for path, other in pairwise(names):
        if nfc(path) == nfc(other):
            raise FreeBindError(
                "the names of two files differ only in how they spell accents",
                where=folder,
                got=f"{path!a} and {other!a}",
                fix="remove or rename one of them",
            )


def _unreadable(error: OSError) -> None:
    raise FreeBindError("a folder cannot be read", where=error.filename, got=error) from error
