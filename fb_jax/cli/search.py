"""``freebind search``: the nearest items of some banks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from rich.table import Table
from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Bank, Concatenated, Split, open_banks, open_split
from fb_jax.cli.device import on_device
from fb_jax.cli.items import UNKNOWN, bank_of, caption
from fb_jax.cli.queries import Query, find_queries
from fb_jax.cli.typed import Typed, find_typed
from fb_jax.console import console
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest
from fb_jax.run import Device


@on_device
def search(
    root: Path,
    split: tuple[str, ...],
    space: str,
    find: Annotated[str, arg(name="in", metavar="MODALITY")],
    query: OmitArgPrefixes[Query],
    typed: OmitArgPrefixes[Typed],
    top: int = 5,
    device: Device = "auto",
) -> None:
    """Print the nearest items of a bank to an item, to what you type, or to embeddings of your own.

    Args:
        root: Bank root.
        split: Split to search; several are searched as one.
        space: Space to search in, fused or not.
        find: Modality to find.
        query: What to search for.
        typed: What to embed and search for.
        top: Number of items to print for each query.
        device: Device to compute on.
    """
    if not split:
        raise FreeBindError("there is nothing to search", expected="--split NAME ...")
    splits = [open_split(root, name) for name in dict.fromkeys(split)]
    banks = [open_banks(root, part.name, spaces=[space], role="item") for part in splits]
    galleries = [bank_of(some, space, find) for some in banks]
    _require_one_space(galleries)
    for gallery in galleries:
        gallery.verify()
    if typed.given:
        asked = find_typed(typed, query, galleries[0], splits)
    else:
        asked = find_queries(query, galleries[0], banks[0], splits[0])
    whole = Concatenated(galleries, galleries[0].shape[1], np.float32)
    cosines, rows = nearest(asked.rows, whole, top)
    kept = [some.rows[find] for some in banks]
    for title, line, found in zip(asked.titles, asked.scale * cosines, rows, strict=True):
        table = Table(asked.measure, *["split"] * (len(banks) > 1), "row", find, title=title)
        for score, position in zip(line, found, strict=True):
            table.add_row(f"{score:.3f}", *_cells(splits, kept, find, int(position)))
        console.print(table)


def _require_one_space(galleries: list[Bank]) -> None:
    """Raise a FreeBindError if the rows of some splits are not of the same space."""
    first = galleries[0]
    for other in galleries[1:]:
        weights = [bank.encoder.weights_sha256 for bank in (first, other)]
        known = UNKNOWN not in weights
        if first.shape[1] != other.shape[1] or (known and weights[0] != weights[1]):
            raise FreeBindError(
                "splits hold rows of different spaces under one name",
                where=other.folder,
                expected=f"{first.shape[1]} dimensions, weights {weights[0]}",
                got=f"{other.shape[1]} dimensions, weights {weights[1]}",
                fix="search them one by one, or write one of them again",
            )


def _cells(splits: list[Split], kept: list[np.ndarray], find: str, position: int) -> list[str]:
    """Return the cells of a row that was found: its split if there are several, number, item.

    Args:
        splits: The splits that were searched.
        kept: The rows of each that its bank has.
        find: Modality of the row.
        position: Of the row in all splits together.
    """
    starts = np.cumsum([0, *map(len, kept)])
    number = int(np.searchsorted(starts, position, side="right")) - 1
    row = int(kept[number][position - starts[number]])
    split = [splits[number].name] if len(splits) > 1 else []
    return [*split, str(row), caption(splits[number].items(find)[row])]
