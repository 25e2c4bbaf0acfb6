"""The banks of some spaces over one split, from disk or from arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks.arrays import MemorySplit, array_bank
from fb_jax.banks.bank import Bank, require_plain
from fb_jax.banks.items import ItemList
from fb_jax.banks.pair_tables import Pair, pair_key
from fb_jax.banks.roots import open_split
from fb_jax.banks.rows import Progress, no_progress
from fb_jax.banks.split import POOL, Split
from fb_jax.errors import FreeBindError, notice_once, unknown


class NothingShared(FreeBindError):
    """No item of a modality has an embedding in every space."""


@dataclass(frozen=True, eq=False, repr=False)
class BankSet:
    """The banks of some spaces over one split, restricted to the rows that all spaces have.

    Attributes:
        split: The split.
        banks: ``(space, modality)`` to bank; the banks of a modality have the same length.
        rows: Modality to ``[n]`` rows of the item list that are kept, ascending.
        removed: Modality to the rows that were removed from it, if any were.
    """

    split: Split | MemorySplit
    banks: Mapping[tuple[str, str], Bank]
    rows: Mapping[str, np.ndarray]
    removed: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_arrays(
        cls,
        spaces: Mapping[str, Mapping[str, Any]],
        pairs: Mapping[Pair, Any] | None = None,
        split: str = POOL,
    ) -> BankSet:
        """Return banks of arrays; nothing is written, and memory maps stay on disk.

        Args:
            spaces: Space to modality to ``[n, d]`` embeddings of any norm: NumPy, JAX or torch. Row
                i of a modality is the same item in every space.
            pairs: Two modalities to ``[p, 2]`` rows that belong together; None as the table means
                that row i goes with row i.
            split: Name of the split, for messages.

        Raises:
            FreeBindError: An array is not a matrix of finite, non-zero float rows; spaces differ in
                their number of items; the modalities of a space differ in dimension; or a table
                does not fit.
        """
        banks = {
            (space, modality): array_bank(space, modality, array)
            for space, modalities in spaces.items()
            for modality, array in modalities.items()
        }
        if empty := [space for space, arrays in spaces.items() if not arrays] or not banks:
            raise FreeBindError(
                "there are no embeddings", where=empty, expected="arrays by space and modality"
            )
        counts: dict[str, int] = {}
        for (space, modality), bank in banks.items():
            if counts.setdefault(modality, len(bank)) != len(bank):
                raise FreeBindError(
                    f"the spaces differ in their number of {modality} items",
                    where=f"{space}/{modality}",
                    expected=f"{counts[modality]} rows",
                    got=f"{len(bank)} rows",
                )
        for space in spaces:
            require_one_dim(split, space, [b for (owner, _), b in banks.items() if owner == space])
        return cls(
            MemorySplit.of(split, counts, pairs or {}),
            banks,
            {modality: np.arange(count) for modality, count in counts.items()},
        )

    def __repr__(self) -> str:
        banks = (f"{'/'.join(key)} {list(bank.shape)}" for key, bank in self.banks.items())
        return f"BankSet({str(self.split.path)!r}: {', '.join(banks)})"

    def __getitem__(self, key: tuple[str, str]) -> Bank:
        return self.banks[key]

    def modalities(self, space: str) -> tuple[str, ...]:
        """Return the modalities of a space."""
        return tuple(modality for owner, modality in self.banks if owner == space)

    def present(self, space: str, modality: str) -> Integer[np.ndarray, " n"]:
        """Return the rows of the item list that a space has and nobody removed."""
        rows = self.banks[space, modality].present()
        return np.setdiff1d(rows, self.removed.get(modality, []), assume_unique=True)

    def dim(self, space: str) -> int:
        """Return the dimension of a space."""
        return next(bank.shape[1] for (owner, _), bank in self.banks.items() if owner == space)

    def fingerprints(self) -> dict[str, str]:
        """Return ``space/modality`` to the digest of that bank, and those of removed rows."""
        removed = {removed_key(m): removed_digest(rows) for m, rows in self.removed.items()}
        return {"/".join(key): bank.fingerprint for key, bank in self.banks.items()} | removed

    def origins(self) -> dict[str, str]:
        """Return ``space/modality`` to ``Bank.origin``, which stays when a bank grows."""
        return {"/".join(key): bank.origin for key, bank in self.banks.items()}

    def pair_fingerprints(self) -> dict[str, str]:
        """Return ``pairs/modality-modality`` to the digest of that table."""
        return {f"pairs/{'-'.join(pair)}": self.split.pairs_digest(*pair) for pair in self.paired()}

    def paired(self) -> list[Pair]:
        """Return the pairs of modalities, both opened here, that have a table."""
        return [pair for pair in self.split.paired() if all(m in self.rows for m in pair)]

    def has_pairs(self, left: str, right: str) -> bool:
        """Return whether the split has a table of two modalities; classes need not be opened."""
        return pair_key(left, right) in self.split.paired()

    def pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return the pair table of two modalities, as positions in the rows kept here."""
        table = self.split.read_pairs(left, right)
        for i, modality in enumerate((left, right)):
            if modality in self.rows:  # classes need not be embedded
                table[:, i] = _renumber(self.rows[modality], table[:, i])
        return table[(table >= 0).all(axis=1)]

    def thinned(self, most: int) -> BankSet:
        """Return the banks of at most so many items of each modality, evenly spaced."""
        rows = {m: kept[:: max(1, -(-len(kept) // most))] for m, kept in self.rows.items()}
        banks = {key: bank.restrict(rows[key[1]]) for key, bank in self.banks.items()}
        return BankSet(self.split, banks, rows, self.removed)

    def verify(self, progress: Progress = no_progress) -> None:
        """Verify every bank; see ``Bank.verify``."""
        for bank in self.banks.values():
            bank.verify(progress)


def removed_key(modality: str) -> str:
    """Return the name of a modality's removed rows among the fingerprints."""
    return f"items/{modality}-removed"


def removed_digest(rows: Integer[np.ndarray, " r"]) -> str:
    """Return the SHA-256 of removed rows, in the order in which they were removed."""
    return files.sha256_of_bytes(rows.astype("<i8").tobytes())


def _renumber(kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the position in ``kept`` of each of ``rows``, or -1."""
    position = np.minimum(np.searchsorted(kept, rows), len(kept) - 1)
    return np.where(kept[position] == rows, position, -1)


def open_banks(
    root: Path | str,
    split: str = POOL,
    *,
    spaces: Iterable[str],
    role: Literal["item"] | None = None,
) -> BankSet:
    """Open the banks of some spaces over one split.

    Args:
        root: A bank root.
        split: One of its splits.
        spaces: Names of spaces.
        role: "item" for rows to be found: of a fused space with hub correction, these are other
            rows than plain ones. None: plain rows; banks of others are refused.

    Returns:
        Their banks, restricted to the rows that all the spaces have and nobody removed.

    Raises:
        FreeBindError: A root, split or space does not exist; banks belong to another item list;
            a space's banks differ in dimension; they hold no plain rows; no row is left.
    """
    where = open_split(root, split)
    known = where.spaces()
    banks: dict[tuple[str, str], Bank] = {}
    for space in [spaces] if isinstance(spaces, str) else spaces:
        _require_space(where, space, known)
        for modality in known[space]:
            banks[space, modality] = bank = open_bank(where, space, modality)
            if role is None:
                require_plain(bank)
            if lacking := lacks(bank, where.items(modality)):
                text = f"{bank.folder}: {lacking}; add their rows with the command that wrote it"
                notice_once(text)
        require_one_dim(where.path / "embeddings", space, [banks[space, m] for m in known[space]])
    removed = {m: where.items(m).removed for _, m in banks}
    rows = {m: _shared_rows(where, m, banks, removed[m]) for m in removed}
    restricted = {key: bank.restrict(rows[key[1]]) for key, bank in banks.items()}
    return BankSet(where, restricted, rows, {m: gone for m, gone in removed.items() if len(gone)})


def _require_space(split: Split, space: str, known: Iterable[str]) -> None:
    if space in known:
        return
    if (split.path / "embeddings" / space).is_dir():
        raise FreeBindError(
            "the banks of this space are not finished",
            where=split.path / "embeddings" / space,
            fix="run the command that writes them again: it continues where it stopped",
        )
    here = [part.parent.parent.name for part in split.path.parent.glob(f"*/embeddings/{space}")]
    if here:
        raise FreeBindError(
            f"this split has no rows of {space}",
            where=split.path,
            expected=", ".join(known),
            got=f"{space} in {', '.join(sorted(here))}",
            fix=f"write them as there: freebind fuse or import with --split {split.name}",
        )
    raise unknown("space", space, known, split.path)


def open_bank(split: Split, space: str, modality: str) -> Bank:
    """Open a bank of a split, which may lack the newest items.

    Raises:
        FreeBindError: It is damaged, lies in the wrong folder, or belongs to another item list.
    """
    bank = Bank.open(split.bank_path(space, modality))
    if (bank.space, bank.modality) != (space, modality):
        raise FreeBindError(
            "a bank lies in the wrong folder",
            where=bank.folder,
            expected=f"{space}/{modality}",
            got=f"{bank.space}/{bank.modality}",
        )
    items = split.items(modality)
    if not _fits(bank, items):
        raise FreeBindError(
            "a bank belongs to another item list",
            where=bank.folder,
            expected=f"{len(items)} items of {items.path}, SHA-256 {items.digest}",
            got=f"{len(bank)} items, SHA-256 {bank.items_sha256}",
            fix="export this bank again from the items, or restore the list it was made from",
        )
    return Bank(bank.array, bank.about, known=min(len(bank), len(items)))


def _fits(bank: Bank, items: ItemList) -> bool:
    """Return whether a bank has the rows of a list, of its first items, or of these and more."""
    if len(bank) <= len(items):
        return bank.items_sha256 == items.digest_of(len(bank))
    return (len(items), items.digest) in {(e.count, e.items_sha256) for e in bank.earlier}


def lacks(bank: Bank, items: ItemList) -> str:
    """Return which of the newest items a bank lacks, as text; none if it has all."""
    newer = len(items) - bank.known
    return f"lacks the newest {newer} of {len(items)} items" if newer > 0 else ""


def require_one_dim(where: object, space: str, banks: Sequence[Bank]) -> None:
    """Raise a FreeBindError if the banks of a space differ in dimension."""
    dims = {bank.modality: bank.shape[1] for bank in banks}
    if len(set(dims.values())) > 1:
        raise FreeBindError(
            "the modalities of a space differ in dimension",
            where=f"{where}/{space}",
            got=", ".join(f"{modality} {dim}" for modality, dim in dims.items()),
            fix="they must come from one model: export or import them again",
        )


def _shared_rows(
    split: Split, modality: str, banks: Mapping[tuple[str, str], Bank], removed: np.ndarray
) -> np.ndarray:
    owners = [bank for (_, owned), bank in banks.items() if owned == modality]
    rows = np.setdiff1d(owners[0].present(), removed, assume_unique=True)
    for bank in owners[1:]:
        rows = np.intersect1d(rows, bank.present(), assume_unique=True)
    if not len(rows):
        raise NothingShared(
            f"no {modality} item has an embedding in every space",
            where=split.path,
            got=", ".join(f"{bank.space} {len(bank.present())}" for bank in owners)
            + (f"; {len(removed)} items were removed" if len(removed) else ""),
        )
    return rows
