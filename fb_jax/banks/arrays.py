"""Embeddings in memory as banks: from NumPy arrays and memory maps, JAX or torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks.bank import Bank, BankAbout, Encoder
from fb_jax.banks.directions import find_all_bad_rows, not_a_matrix, refuse_bad_rows, require_matrix
from fb_jax.banks.items import write_items
from fb_jax.banks.pair_tables import Pair, check_pairs, in_order, pair_key, require_two
from fb_jax.banks.rows import Progress, blocks_of, no_progress
from fb_jax.banks.split import Split, copy_pairs
from fb_jax.errors import unknown


def to_numpy(array: Any, where: object = None) -> np.ndarray:
    """Return a NumPy, JAX or torch array as NumPy's; a torch tensor leaves its device and graph.

    The dtype stays, but bfloat16, which NumPy lacks, becomes float32.

    Raises:
        FreeBindError: It is no array: its rows differ in length, or some of its entries are masked.
    """
    if hasattr(array, "detach"):  # torch, which need not be installed
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    try:
        array = np.asanyarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise not_a_matrix(where, error) from error
    if np.ma.is_masked(array):
        raise not_a_matrix(where, "masked entries")
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array  # JAX's


class MemoryArray:
    """An ``[n, d]`` array in memory, or a memory map, that is read like one on disk."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self.shape = rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | Integer[np.ndarray, " r"]) -> np.ndarray:
        return np.asarray(self._rows[rows])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape, dtype and rows, block by block."""
        digest = hashlib.sha256(f"{self.shape} {self._rows.dtype.str}".encode())
        for _, block in self.verified():
            digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def verified(self, progress: Progress = no_progress) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first row, block)`` over the array; there are no digests to compare."""
        for start, block in blocks_of(self):
            yield start, block
            progress(len(block))


def array_bank(space: str, modality: str, array: Any) -> Bank:
    """Return a bank of an array in memory.

    Raises:
        FreeBindError: It is not a matrix of finite, non-zero float rows.
    """
    where = f"{space}/{modality}"
    rows = to_numpy(array, where)
    require_matrix(rows, where)
    memory = MemoryArray(rows)
    fix = "leave these items out, in every space of this modality"
    refuse_bad_rows("an array", where, find_all_bad_rows(blocks_of(memory)), fix)
    return Bank(memory, BankAbout(space, modality, Encoder("an array in memory")))


@dataclass(frozen=True)
class MemorySplit:
    """A split without files: its name, and pair tables."""

    name: str
    counts: Mapping[str, int]
    tables: Mapping[Pair, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, counts: Mapping[str, int], pairs: Mapping[Pair, Any]) -> MemorySplit:
        """Return a split with some pair tables; see ``BankSet.from_arrays``."""
        tables = {}
        for pair, table in pairs.items():
            require_two(pair, "pairs")
            for modality in pair:
                if modality not in counts and modality != "class":
                    raise unknown("modality", modality, counts, f"pairs {'-'.join(pair)}")
            known = [counts[m] for m in pair if m in counts]
            rows = np.repeat(np.arange(min(known or [0]))[:, None], 2, axis=1)
            rows = rows if table is None else np.asarray(table)
            check_pairs(rows, [counts.get(m, np.iinfo(np.int64).max) for m in pair], pair)
            tables[pair_key(*pair)] = in_order(pair, rows)
        return cls(name, dict(counts), tables)

    @property
    def path(self) -> str:
        """What messages call the split."""
        return f"{self.name} (in memory)"

    def paired(self) -> list[Pair]:
        """Return the pairs of modalities that have a table."""
        return sorted(self.tables)

    def read_pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return the pair table of two modalities, columns in this order."""
        return in_order((left, right), self.tables[pair_key(left, right)].astype(np.int64))

    def pairs_digest(self, left: str, right: str) -> str:
        """Return the SHA-256 of the pair table of two modalities."""
        return files.sha256_of_bytes(self.tables[pair_key(left, right)].tobytes())

    def copy_items_to(self, target: Split) -> None:
        """Write numbered items, and the pair tables between them, to a split on disk.

        Raises:
            FreeBindError: It has others.
        """
        with target.writing():
            for modality, count in self.counts.items():
                write_items(target.items_path(modality), ({"id": str(i)} for i in range(count)))
            for pair in (pair for pair in self.tables if set(pair) <= set(self.counts)):
                copy_pairs(target, pair, self.read_pairs(*pair))
