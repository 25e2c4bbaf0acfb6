"""``freebind search``: the nearest items of a bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.markup import escape
from rich.table import Table
from tyro.conf import arg

from fb_jax.banks import Bank, BankSet, Split, open_banks, open_split
from fb_jax.cli.device import on_device
from fb_jax.console import console
from fb_jax.errors import FreeBindError, shown, unknown
from fb_jax.evaluation import nearest
from fb_jax.importing import open_matrix
from fb_jax.run import Device


@on_device
def search(
    root: Path,
    split: str,
    space: str,
    find: Annotated[str, arg(name="in", metavar="MODALITY")],
    like: Annotated[str | None, arg(metavar="MODALITY")] = None,
    row: int | None = None,
    id: str | None = None,
    queries: Annotated[Path | None, arg(metavar="FILE.npy")] = None,
    top: int = 5,
    device: Device = "auto",
) -> None:
    """Print the nearest items of a bank to an item, or to embeddings of your own.

    Args:
        root: Bank root.
        split: Split to search.
        space: Space to search in, fused or not.
        find: Modality to find.
        like: Modality of the item that is the query, with --row or --id.
        row: Row of that item.
        id: Id of that item.
        queries: Embeddings of the same space to search for, a matrix [q, d].
        top: Number of items to print for each query.
        device: Device to compute on.
    """
    banks = open_banks(root, split, spaces=[space])
    gallery = _bank(banks, space, find)
    gallery.verify()
    if queries is not None:
        if any(part is not None for part in (like, row, id)):
            raise FreeBindError("two kinds of query", expected="--queries alone, or --like")
        vectors = np.asarray(open_matrix(queries)[:])
        titles = [escape(f"{queries}, row {i}") for i in range(len(vectors))]
    else:
        title, vectors = _own_query(banks, open_split(root, split), space, like, row, id)
        titles = [title]
    cosines, rows = nearest(vectors, gallery, top)
    items = open_split(root, split).items(find)
    for title, line, numbers in zip(titles, cosines, rows, strict=True):
        table = Table("cosine", "row", find, title=title)
        for cosine, number in zip(line, banks.rows[find][numbers], strict=True):
            table.add_row(f"{cosine:.3f}", str(number), _caption(items[int(number)]))
        console.print(table)


def _bank(banks: BankSet, space: str, modality: str) -> Bank:
    if modality not in (known := banks.modalities(space)):
        raise unknown(f"modality of {space}", modality, known, banks.split.path)
    return banks[space, modality]


def _own_query(
    banks: BankSet, split: Split, space: str, like: str | None, row: int | None, item_id: str | None
) -> tuple[str, np.ndarray]:
    """Return the title and the embedding ``[1, d]`` of an item of the split."""
    if like is None or (row is None) == (item_id is None):
        raise FreeBindError(
            "there is no query",
            expected="--like MODALITY with one of --row and --id, or --queries FILE.npy",
        )
    bank, items = _bank(banks, space, like), split.items(like)
    bank.verify()
    row = items.row_of(str(item_id)) if row is None else row
    title = f"{like} {row}: {_caption(items[row])}"
    position = np.flatnonzero(banks.rows[like] == row)
    if not len(position):
        raise FreeBindError("this item has no embedding", where=bank.folder, got=title)
    return title, bank[position]


def _caption(item: dict[str, Any]) -> str:
    return escape(shown(item.get("caption") or item.get("path") or item["id"]))
