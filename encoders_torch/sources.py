"""Sources of items to encode: a folder of media, or a list. Their order is fixed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from encoders_torch.lists import LISTS, OpenList
from encoders_torch.suffixes import suffixes
from fb_jax import files
from fb_jax.banks import ItemList, Split, append_items, write_items
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError, notice_once

TEXT = "text"


@dataclass(frozen=True)
class Source:
    """Items of one modality.

    Attributes:
        items: Each has an ``id`` and a ``caption`` or ``path``. They may be iterated several times.
        folder: Paths are relative to it; None for captions.
    """

    items: Iterable[Item]
    folder: Path | None = None


def open_source(modality: str, path: Path | str) -> Source:
    """Return the items of a list in its order, or of a folder in the order of their paths.

    Args:
        modality: ``text``, ``image``, ``audio``, or another (then every file of a folder counts).
        path: A ``.txt``, ``.csv``, ``.jsonl`` or ``.parquet`` list, or a folder of media.

    Raises:
        FreeBindError: It is missing, of another kind, or empty.
    """
    path = Path(path)
    if path.suffix.lower() in LISTS and not path.is_dir():
        column = "caption" if modality == TEXT else "path"
        source = Source(OpenList(path, column), None if modality == TEXT else path.parent)
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
    """Find media at any depth, without hidden files and folders, and links to folders."""
    known = suffixes(modality)
    names = []
    for parent, folders, here in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        names += [prefix + name for name in here if _wanted_file(name, known)]
    _require_unicode(names, folder)
    return Source([{"id": name, "path": name} for name in sorted(names)], folder)


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


def list_items(split: Split, modality: str, source: Source, *, append: bool = False) -> ItemList:
    """Write the item list of a source, which all spaces share. One process writes at a time.

    Args:
        split: Split of the list.
        modality: Modality of the list.
        source: The items.
        append: Add those that are new to the list that is there. Items of the list need not be in
            the source; those that were removed stay removed.

    Raises:
        FreeBindError: Two items have the same id; the split has other items already or, with
            ``append``, another item under the id of a new one.
    """
    path = split.items_path(modality)
    if append and path.exists():
        known = ItemList(path)
        return append_items(split, modality, _new_items(known, source.items), len(known))
    with split.writing():
        return write_items(path, _unique(source.items))


def _new_items(known: ItemList, items: Iterable[Item]) -> list[Item]:
    """Return the items that are not in a list, as they are, among those there or removed."""
    here = set(map(_digest, known))
    new = [item for item in _unique(items) if _digest(item) not in here]
    notice_once(f"{known.path}: {len(new)} new items after the {len(known)} that are here")
    return new


def _digest(item: Item) -> bytes:
    return blake2b(files.canonical_json(item), digest_size=16).digest()


def _unique(items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on; at the end, raise if an id came twice. Keeps 8 bytes for each item."""
    hashes: list[np.ndarray] = []
    block: list[int] = []
    for item in items:
        block.append(hash(item["id"]))
        if len(block) == 1 << 16:
            hashes.append(np.array(block, np.int64))
            block.clear()
        yield item
    hashes.append(np.array(block, np.int64))
    distinct, counts = np.unique(np.concatenate(hashes), return_counts=True)
    _require_different(items, set(distinct[counts > 1].tolist()))


def _require_different(items: Iterable[Item], suspects: set[int]) -> None:
    """Raise a FreeBindError if two items share an id with one of these hashes."""
    seen: set[str] = set()
    for item in items if suspects else ():
        if hash(item["id"]) not in suspects:
            continue
        if item["id"] in seen:
            raise FreeBindError(
                "two items have the same id",
                got=repr(item["id"]),
                fix='add a column "id" to the list, or remove the repeated item',
            )
        seen.add(item["id"])
