"""What fusing changed for some queries: the first items before and after, and whether they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from fb_jax.banks import BankSet, ItemList, Split
from fb_jax.evaluation.models import unified_rows
from fb_jax.evaluation.search import nearest
from fb_jax.fusion import FusedSpace, Role, fusable, sources

SHOWN = 5
"""Number of queries, drawn at random."""

TOP = 3
"""Number of items for each."""


@dataclass(frozen=True)
class Found:
    """An item that a query finds.

    Attributes:
        text: Its caption, path or id.
        right: Whether it belongs to the query.
    """

    text: str
    right: bool


@dataclass(frozen=True)
class Changed:
    """What one query finds in the unified space and in the fused one, best first."""

    query: str
    before: tuple[Found, ...]
    after: tuple[Found, ...]


def changed_queries(
    space: FusedSpace, banks: BankSet, left: str, right: str, count: int = SHOWN
) -> list[Changed]:
    """Return what some queries find before and after fusing.

    Args:
        space: The fused space, at its factors.
        banks: Its native spaces over a split on disk with pairs of both modalities.
        left: Modality of the queries, which are drawn at random among those with a pair.
        right: Modality of the items.
        count: Number of queries.

    Returns:
        The queries; none if the banks are in memory, or lack a space of one of the modalities.
    """
    unified = unified_rows(space, banks)
    known = set(fusable(space, banks)) & unified.keys()
    if not isinstance(banks.split, Split) or not {left, right} <= known:
        return []
    table = banks.pairs(left, right)
    asked = np.unique(table[:, 0])
    rows = np.sort(np.random.default_rng(0).permutation(asked)[:count])
    roles: dict[str, Role] = {left: "query", right: "item"}
    fused = {m: space.fuse(m, sources(space, banks, m), role=role) for m, role in roles.items()}
    finds = [
        nearest(model[left][rows], model[right], TOP)[1].tolist() for model in (unified, fused)
    ]
    items = {m: banks.split.items(m) for m in (left, right)}
    name = partial(_name, items, banks.rows)
    fits = set(map(tuple, table.tolist()))
    return [
        Changed(
            name(left, row),
            *(
                tuple(Found(name(right, item), (row, item) in fits) for item in items)
                for items in both
            ),
        )
        for row, *both in zip(rows.tolist(), *finds, strict=True)
    ]


def _name(
    items: Mapping[str, ItemList], rows: Mapping[str, np.ndarray], modality: str, position: int
) -> str:
    """Return what an item is called: its caption, path or id."""
    item = items[modality][int(rows[modality][position])]
    return str(item.get("caption") or item.get("path") or item["id"])
