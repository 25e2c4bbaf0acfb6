"""Item lists in files of other programs: ``.jsonl`` and ``.txt``."""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.banks import Bank, ItemList, Split, write_items
from fb_jax.banks.items import Item, items_sha256
from fb_jax.errors import FreeBindError


def items_for(split: Split, modality: str, source: Path | str | None, count: int) -> ItemList:
    """Return the item list of a modality, written if the split has none; see ``import_bank``.

    Raises:
        FreeBindError: The list cannot be read, is another one, or does not have ``count`` items.
    """
    path = split.items_path(modality)
    items = None if source is None else _read_items(Path(source))
    _require_count(count, path if items is None else items, source or path)
    if not path.exists():
        _require_known(split, modality, items)
    with split.writing():
        if items is None and not path.exists():
            items = [{"id": str(row)} for row in range(count)]
        written = ItemList(path) if items is None else write_items(path, items)
    _require_count(count, path, path)  # it may have come meanwhile
    return written


def _require_known(split: Split, modality: str, items: list[Item] | None) -> None:
    """Raise a FreeBindError if banks of the split record a list that is lost, and not this one."""
    owners = (space for space, owned in split.spaces().items() if modality in owned)
    wanted = {Bank.open(split.bank_path(space, modality)).items_sha256 for space in owners}
    if wanted and (items is None or items_sha256(items) not in wanted):
        raise FreeBindError(
            "the item list is lost, and banks of this split rely on it",
            where=split.items_path(modality),
            expected=f"a list with SHA-256 {', '.join(sorted(wanted))}",
            fix="restore it, or give the same list again with --items",
        )


def _require_count(count: int, items: list[Item] | Path, where: object) -> None:
    if isinstance(items, Path):
        found = len(ItemList(items)) if items.exists() else count
    else:
        found = len(items)
    if found != count:
        raise FreeBindError(
            "the matrix and the item list differ in length",
            where=where,
            expected=f"{found} rows, one for each item",
            got=f"{count} rows",
        )


def _read_items(source: Path) -> list[Item]:
    if source.suffix not in (".jsonl", ".txt"):
        raise FreeBindError(
            "this kind of item list cannot be read", where=source, expected=".jsonl or .txt"
        )
    if source.suffix == ".jsonl":
        items = ItemList(source)
        items.verify()
        return list(items)
    return [{"id": str(i), "caption": line} for i, line in enumerate(files.read_lines(source))]
