"""What an import would do, in lines; nothing is written."""

from __future__ import annotations

from itertools import islice

import numpy as np

from fb_jax import files
from fb_jax.banks import Split
from fb_jax.banks.directions import find_bad_rows
from fb_jax.banks.items import Item
from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.importing.bank import require_bank
from fb_jax.importing.lists import Listed, require_items
from fb_jax.importing.source import Source

EXAMPLES = 2
MOST_COLUMNS = 20

REFUSED = ", which are refused without --bad-rows missing"


def describe_import(
    split: Split, space: str, source: Source, items: Listed | None, dtype: str
) -> list[str]:
    """Return lines that say what was found, what was chosen, and what would be written.

    Args:
        split: Split of the bank.
        space: Name of the space.
        source: Opened source, with its modality.
        items: The items that would be listed.
        dtype: How the rows would be stored.

    Raises:
        FreeBindError: The names, the columns or the items would be refused.
    """
    modality, (count, dim) = str(source.modality), source.matrix.shape
    folder = split.bank_path(space, modality)
    require_bank(split, space, modality, source)
    require_items(split, modality, items, count)
    first = source.matrix[:BLOCK_ROWS]
    bad = sum(len(rows) for rows in find_bad_rows(first).values())
    size = files.gigabytes(count * dim * np.dtype(dtype).itemsize)
    return [
        f"{source.path}: {source.kind}: {count:,} rows of {dim} numbers, {first.dtype}",
        *source.notes,
        *_columns(source),
        *_items(items),
        f"bad rows: {bad} of the first {len(first):,}" + (REFUSED if bad else ""),
        f"{_verb(modality in split.spaces().get(space, []))} {folder}: {size} as {dtype}",
        _list(split, modality, count),
    ]


def _columns(source: Source) -> list[str]:
    if source.columns is None:
        return []
    named = [f"{name} {kind}" for name, kind in source.columns.types.items()]
    more = f", and {len(named) - MOST_COLUMNS} more" if named[MOST_COLUMNS:] else ""
    return [f"columns: {', '.join(named[:MOST_COLUMNS]) or 'no other'}{more}"]


def _items(items: Listed | None) -> list[str]:
    if not items:
        return []
    first = list(islice(items, EXAMPLES))
    return [
        *items.notes,
        *(f"{name}s: {', '.join(_example(item, name) for item in first)}" for name in items.fields),
    ]


def _example(item: Item, field: str) -> str:
    return repr(item[field]) if field in item else "none"


def _list(split: Split, modality: str, count: int) -> str:
    path = split.items_path(modality)
    return f"{_verb(path.exists())} {path}: {count:,} items"


def _verb(there: bool) -> str:
    return "is there already:" if there else "would write"
