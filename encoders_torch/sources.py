"""What is to be encoded: a folder tree of media, or a list, as items in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders_torch.lists import LISTS, open_list
from encoders_torch.suffixes import suffixes
from fb_jax.banks import ItemList, Split, files, write_items
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError

TEXT = "text"


@dataclass(frozen=True)
class Source:
    """Items of one modality.

    Attributes:
        items: As item lists hold them, with an ``id`` and a ``caption`` or ``path``; may be read
            more than once.
        folder: What paths are relative to; None for captions.
    """

    items: Iterable[Item]
    folder: Path | None = None


def open_source(modality: str, path: Path) -> Source:
    """Return the items of a list, in its order, or of a folder tree, in the order of their paths.

    Args:
        modality: ``text``, ``image``, ``audio``, or another, whose folders are taken whole.
        path: Of a ``.txt``, ``.csv``, ``.jsonl`` or ``.parquet`` list, or of a folder of media.

    Raises:
        FreeBindError: It is missing, of another kind, or empty.
    """
    if path.suffix.lower() in LISTS and not path.is_dir():
        column = "caption" if modality == TEXT else "path"
        source = Source(open_list(path, column), None if modality == TEXT else path.parent)
    elif modality == TEXT or not path.is_dir():
        raise FreeBindError(
            f"there is no such source of {modality}", where=path, expected=_wanted(modality)
        )
    else:
        source = _folder(modality, path)
    for _ in source.items:
        return source
    raise FreeBindError(f"there is no {modality} here", where=path, expected=_wanted(modality))


def _wanted(modality: str) -> str:
    lists = f"a list ({', '.join(LISTS)})"
    known = suffixes(modality)
    kinds = f" of {', '.join(sorted(known))}" if known else ""
    return lists if modality == TEXT else f"{lists}, or a folder{kinds}"


def _folder(modality: str, folder: Path) -> Source:
    """Find media at any depth; hidden files and folders, and links to folders, are left out."""
    known = suffixes(modality)
    names = []
    for where, folders, found in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(where).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        names += [prefix + name for name in found if _wanted_file(name, known)]
    for name in names:
        _require_unicode(folder, name)
    return Source([{"id": name, "path": name} for name in sorted(names)], folder)


def _wanted_file(name: str, known: frozenset[str]) -> bool:
    return not name.startswith(".") and (not known or Path(name).suffix.lower() in known)


def _unreadable(error: OSError) -> None:
    raise FreeBindError("a folder cannot be read", where=error.filename, got=error) from error


def _require_unicode(folder: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise FreeBindError(
            "the name of a file is not UTF-8", where=folder, got=repr(name), fix="rename it"
        ) from error


def list_items(split: Split, modality: str, source: Source) -> ItemList:
    """Write the item list of a source, which all spaces share; one process at a time.

    Raises:
        FreeBindError: Two items have the same id, or the split holds other items.
    """
    path = split.items_path(modality)
    with files.locked(path.parent, wait=True):
        return write_items(path, _unique(source.items))


def _unique(items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on; at the end, raise if an id came twice. Holds 8 bytes an item."""
    hashes: list[np.ndarray] = []
    block: list[int] = []
    for item in items:
        block.append(hash(item["id"]))
        if len(block) == 1 << 16:
            hashes.append(np.array(block, np.int64))
            block.clear()
        yield item
    found, counts = np.unique(
        np.concatenate([*hashes, np.array(block, np.int64)]), return_counts=True
    )
    _require_different(items, set(found[counts > 1].tolist()))


def _require_different(items: Iterable[Item], suspects: set[int]) -> None:
    """Of the items whose ids have these hashes, require that the ids differ."""
    seen: set[str] = set()
    for item in items if suspects else ():
        if hash(item["id"]) not in suspects:
            continue
        if item["id"] in seen:
            raise FreeBindError(
                "two items have the same id",
                got=repr(item["id"]),
                fix='give the list a column "id", or each item once',
            )
        seen.add(item["id"])
