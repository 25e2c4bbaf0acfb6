"""Writes the item list of a source, which all spaces share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path

import numpy as np

from encoders_torch.sources.source import Source
from fb_jax import files
from fb_jax.banks import ItemList, Split, nfc, write_items
from fb_jax.banks.changes import add_items
from fb_jax.banks.items import Item
from fb_jax.errors import FreeBindError, notice_once


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
            ``append``, another item under the id of a new one, or all of them under other ids.
    """
    path = split.items_path(modality)
    with split.writing():
        if append and path.exists():
            known = ItemList(path)
            _require_these_ids(known, source.items)
            return add_items(path, _new_items(known, source), len(known))
        return write_items(path, _unique(source), partial(_advice, path, source.items))


def _advice(path: Path, items: Iterable[Item]) -> str:
    """Return what to do if a list has other items than a source."""
    known = ItemList(path)
    here, asked = set(map(_digest, known)), set(map(_digest, items))
    gone = [item["id"] for _, item in known.present() if _digest(item) not in asked]
    new = len(asked - here)
    if gone:
        return (
            f"{len(gone)} items of the list are gone or changed, the first is {gone[0]!r}: use "
            "another split or root; or remove them from the list with freebind bank remove, and "
            f"--append adds the {new} new ones"
        )
    return f"--append adds the {new} new ones" if new else "--append keeps the order of the list"


def _require_these_ids(known: ItemList, items: Iterable[Item]) -> None:
    """Raise a FreeBindError if a source begins with the items of a list, all under other ids.

    They would be added as new ones, and everything would be there twice.
    """
    pairs = zip(known, items, strict=False)
    count = sum(1 for _ in takewhile(lambda pair: _renamed(*pair), pairs))
    if 0 < count == len(known):
        raise FreeBindError(
            "these items are here under other ids",
            where=known.path,
            expected=f"such as {known[0]['id']!r}",
            got=f"such as {next(iter(items))['id']!r}",
            fix="name the column whose ids are here with --id-column, - for none",
        )


def _renamed(here: Item, item: Item) -> bool:
    without = ({**each, "id": ""} for each in (here, item))
    return nfc(here["id"]) != nfc(item["id"]) and len(set(map(_digest, without))) == 1


def _new_items(known: ItemList, source: Source) -> list[Item]:
    """Return the items that are not in a list, as they are, among those there or removed."""
    here = set(map(_digest, known))
    new = [item for item in _unique(source) if _digest(item) not in here]
    notice_once(f"{known.path}: {len(new)} new items after the {len(known)} that are here")
    return new


def _digest(item: Item) -> bytes:
    """Return a digest of an item, the same in either spelling of its accents."""
    line = nfc(files.canonical_json(item).decode())
    return blake2b(line.encode(), digest_size=16).digest()


def _unique(source: Source) -> Iterator[Item]:
    """Pass items on; at the end, raise if an id came twice. Keeps 8 bytes for each item."""
    hashes: list[np.ndarray] = []
    block: list[int] = []
    for item in source.items:
        block.append(hash(nfc(item["id"])))
        if len(block) == 1 << 16:
            hashes.append(np.array(block, np.int64))
            block.clear()
        yield item
    hashes.append(np.array(block, np.int64))
    distinct, counts = np.unique(np.concatenate(hashes), return_counts=True)
    _require_different(source, set(distinct[counts > 1].tolist()))


def _require_different(source: Source, suspects: set[int]) -> None:
    """Raise a FreeBindError if two items share an id with one of these hashes."""
    seen: dict[str, int] = {}
    for number, item in enumerate(source.items if suspects else (), 1):
        name = nfc(item["id"])
        if hash(name) in suspects and (first := seen.setdefault(name, number)) != number:
            raise FreeBindError(
                "two items have the same id",
                where=source.path,
                got=f"{name!r}: items {first} and {number}, counted from 1",
                fix="name the column of the ids with --id-column, - for none, or remove the "
                "repeated item",
            )
