"""Changes of an item list: new items at its end, and items that are removed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from fb_jax import files
from fb_jax.banks.items import Item, ItemList, Removed, lines_of, require_same
from fb_jax.banks.names import nfc
from fb_jax.banks.split import Split
from fb_jax.errors import FreeBindError

SHOWN = 8


def append_items(split: Split, modality: str, items: Sequence[Item], start: int) -> ItemList:
    """Add items at the end of a list, atomically; the same items may be added again.

    Args:
        split: Split of the list.
        modality: Modality of the list.
        items: The new items.
        start: Row of the first one: as many items as the list had before them.

    Raises:
        FreeBindError: Other items are there, or an item that was not removed has the same id.
    """
    with split.writing():
        return add_items(split.items_path(modality), items, start)


def add_items(path: Path, items: Sequence[Item], start: int) -> ItemList:
    """Add items at the end of the list at a path; see ``append_items``. Hold ``split.writing``."""
    known = ItemList(path)
    if start < len(known):
        require_same(path, lines_of(items), start, start + len(items))
    else:
        _require_new_ids(known, items)
        files.write_atomic(path, lambda file: _write_longer(file, known, items))
    return ItemList(path)


def _write_longer(file: IO[bytes], known: ItemList, items: Sequence[Item]) -> None:
    with files.open_regular(known.path) as original:
        shutil.copyfileobj(original, file)
    file.writelines(lines_of(items))


def _require_new_ids(known: ItemList, items: Sequence[Item]) -> None:
    new = {nfc(item["id"]): row for row, item in enumerate(items, len(known))}
    taken = [f"{name!r}, row {row}" for row, name in known.ids() if name in new]
    if len(new) < len(items):
        rows = enumerate(items, len(known))
        taken += [f"{item['id']!r}, row {row}" for row, item in rows if new[nfc(item["id"])] != row]
    if taken:
        raise FreeBindError(
            "items with these ids are already here",
            where=known.path,
            expected="ids that no other item has",
            got=_shown(taken),
            fix="choose other ids; if these items have changed, remove them first: "
            "freebind bank remove",
        )
    if not known.ends_whole():
        raise FreeBindError(
            "nothing can be added to this item list: its last line has no end",
            where=known.path,
            expected="a line feed after every item",
            fix="put new items in a new split",
        )


def remove_items(split: Split, modality: str, ids: Iterable[str]) -> list[int]:
    """Remove items from a modality of a split, all of them or, if one is unknown, none.

    Their rows stay where they are, in the item list and in every bank; nothing reads them any more.

    Args:
        split: Split of the items.
        modality: Modality of the items.
        ids: Ids of the items. Those that are removed already may be named again.

    Returns:
        The rows that were removed now.

    Raises:
        FreeBindError: No item has, or had, one of the ids.
    """
    with split.writing():
        items, wanted = split.items(modality), dict.fromkeys(map(nfc, ids))
        rows = {name: row for row, name in items.ids() if name in wanted}
        gone = {nfc(items[row]["id"]) for row in items.removed.tolist()}
        if unknown := [name for name in wanted if name not in rows and name not in gone]:
            raise FreeBindError(
                "there are no items with these ids: nothing was removed",
                where=items.path,
                got=_shown(list(map(repr, unknown))),
            )
        new = [rows[name] for name in wanted if name in rows]
        if new:
            removed = Removed([*items.removed.tolist(), *new], len(items), items.digest)
            files.write_json(items.removed_path, dataclasses.asdict(removed))
        return new


def _shown(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
