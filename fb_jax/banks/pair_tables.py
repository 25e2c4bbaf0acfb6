"""Pair tables: ``[p, 2]`` rows of two modalities that belong together, and their earlier states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Integer

from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, Sha256

Pair = tuple[str, str]


def pair_key(left: str, right: str) -> Pair:
    """Return two modalities in the order in which pair tables name them: alphabetical."""
    return (left, right) if left <= right else (right, left)


def in_order(pair: Pair, table: Integer[np.ndarray, "p 2"]) -> Integer[np.ndarray, "p 2"]:
    """Turn the columns of a table from the order of ``pair`` to the alphabetical one, or back."""
    return table if pair == pair_key(*pair) else table[:, ::-1]


def require_two(pair: Pair, where: object, fix: str | None = None) -> None:
    """Raise a FreeBindError if a pair joins a modality with itself: no evaluation takes that."""
    if pair[0] == pair[1]:
        raise FreeBindError(
            f"a pair table joins {pair[0]} with itself",
            where=where,
            expected="two modalities",
            fix=fix,
        )


@dataclass(frozen=True)
class EarlierPairs:
    """A pair table before pairs were added: their number, and the digest of its file."""

    pairs: Count
    npy: Sha256


@dataclass(frozen=True)
class PairsRecord:
    """What the record of a pair table says of its past."""

    earlier: list[EarlierPairs] = field(default_factory=list)


def check_pairs(table: np.ndarray, counts: Sequence[int], where: object) -> None:
    """Raise a FreeBindError unless a table is ``[p, 2]`` distinct pairs below ``counts``."""
    if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "iu" or not len(table):
        raise FreeBindError(
            "a pair table has the wrong form",
            where=where,
            expected="integers [p, 2], p > 0",
            got=f"{table.dtype} {list(table.shape)}",
        )
    outside = np.flatnonzero(((table < 0) | (table >= np.asarray(counts))).any(axis=1))
    if len(outside):
        raise FreeBindError(
            "a pair table points past an item list",
            where=where,
            expected=f"rows below {counts[0]} and {counts[1]}",
            got=f"{len(outside)} pairs outside, the first is {table[outside[0]].tolist()}",
        )
    if len(np.unique(table, axis=0)) != len(table):
        raise FreeBindError("a pair table holds a pair twice", where=where)


def among(pairs: Integer[np.ndarray, "p 2"], known: Integer[np.ndarray, "k 2"]) -> np.ndarray:
    """Return ``[p]`` booleans: whether a pair is among the known ones."""
    _, numbers = np.unique(np.concatenate([known, pairs]), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return np.isin(numbers[len(known) :], numbers[: len(known)])
