"""A sample of a split: some items of each modality, held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError, require_range

LEAST = 4
"""Fewest items of a modality that can be measured: each half has two."""

ByModality = Mapping[str, Float[np.ndarray, "_ _"]]
"""Modality to rows ``[n, d]`` of one space; modalities may differ in n, and spaces in d."""


@dataclass(frozen=True)
class Sampling:
    """How many items are measured. The memory of a diagnosis depends on nothing else.

    Attributes:
        items: Items of each modality that spaces are compared on, 20 to 100000.
        queries: Items of each start that run the hops over the whole pool, 1 to 10000.
        neighbours: Number k of nearest items that count as near, 1 to 1000.
        seed: Seed of the sample, 0 to 4294967295.
    """

    items: int = 2000
    queries: int = 256
    neighbours: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("diagnosis", 20, 10**5, items=self.items)
        require_range("diagnosis", 1, 10**4, queries=self.queries)
        require_range("diagnosis", 1, 1000, neighbours=self.neighbours)
        require_range("diagnosis", 0, (1 << 32) - 1, seed=self.seed)


def drawn(count: int, most: int, seed: int) -> Integer[np.ndarray, " n"]:
    """Return at most ``most`` of ``count`` row numbers, drawn at random, ascending."""
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:most])


def sample(banks: BankSet, sampling: Sampling) -> BankSet:
    """Return some items of each modality in memory; a row is the same item in every space.

    Raises:
        FreeBindError: A modality has fewer than ``LEAST`` items.
    """
    counts = {modality: len(rows) for modality, rows in banks.rows.items()}
    if min(counts.values()) < LEAST:
        raise FreeBindError(
            "there are too few items to measure",
            where=banks.split.path,
            expected=f"{LEAST} or more of each modality",
            got=", ".join(f"{count} {modality}" for modality, count in counts.items()),
        )
    rows = {m: drawn(len(kept), sampling.items, sampling.seed) for m, kept in banks.rows.items()}
    spaces: dict[str, dict[str, np.ndarray]] = {}
    for (space, modality), bank in banks.banks.items():
        spaces.setdefault(space, {})[modality] = bank[rows[modality]]
    return BankSet.from_arrays(spaces, split=banks.split.name)


def restricted(banks: BankSet, rows: Mapping[str, np.ndarray]) -> BankSet:
    """Return the banks of a sample with only some rows of each modality."""
    kept = {key: bank.restrict(rows[key[1]]) for key, bank in banks.banks.items()}
    return BankSet(banks.split, kept, dict(rows))


def halves(banks: BankSet, seed: int) -> tuple[BankSet, BankSet]:
    """Return two halves of a sample that share no item, drawn at random."""
    picked = {m: drawn(len(rows), len(rows) // 2, seed) for m, rows in banks.rows.items()}
    rest = {m: np.setdiff1d(rows, picked[m]) for m, rows in banks.rows.items()}
    return restricted(banks, picked), restricted(banks, rest)
