"""Bank roots: the folders that hold splits, and what of a split several spaces share.

    ROOT/<split>/items/<modality>.jsonl                    what row i is
    ROOT/<split>/embeddings/<space>/<modality>/            a bank: emb_00000.npy ..., manifest.json
    ROOT/<split>/pairs/<modality>-<modality>.npy           [p, 2] rows that belong together

``pool`` holds unpaired training items, every other split is for evaluation. Labels are a pair
table whose second modality is ``class``. docs/banks.md has the details.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import files
from fb_jax.banks.bank import Bank
from fb_jax.banks.items import ItemList
from fb_jax.banks.shards import MANIFEST, PARTIAL, Progress, no_progress
from fb_jax.errors import FreeBindError, unknown

POOL = "pool"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")

Pair = tuple[str, str]


def pair_key(left: str, right: str) -> Pair:
    """Return two modalities in the order that pair tables are named by: the alphabet's."""
    return (left, right) if left <= right else (right, left)


def require_name(kind: str, name: str) -> None:
    """Raise a FreeBindError unless ``name`` can name a folder and a part of a file name."""
    if not NAME.fullmatch(name):
        raise FreeBindError(
            f"{name!r} cannot name a {kind}",
            expected="letters, digits, and _ . + behind the first",
        )


@dataclass(frozen=True)
class Split:
    """The paths of one split; nothing is opened until asked for."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.path.name

    def items(self, modality: str) -> ItemList:
        """Open the item list of a modality."""
        return ItemList(self.items_path(modality))

    def items_path(self, modality: str) -> Path:
        """Where the item list of a modality is."""
        return self.path / "items" / f"{modality}.jsonl"

    def bank_path(self, space: str, modality: str) -> Path:
        """Where the bank of a modality in a space is."""
        return self.path / "embeddings" / space / modality

    def pairs_path(self, left: str, right: str) -> Path:
        """Where the pair table of two modalities is."""
        return self.path / "pairs" / f"{'-'.join(pair_key(left, right))}.npy"

    def spaces(self) -> dict[str, list[str]]:
        """Return the modalities of every space that has finished banks here."""
        found: dict[str, list[str]] = {}
        for manifest in sorted(self.path.glob(f"embeddings/*/*/{MANIFEST}")):
            found.setdefault(manifest.parent.parent.name, []).append(manifest.parent.name)
        return found

    def paired(self) -> list[Pair]:
        """Return the pairs of modalities that have a table."""
        stems = sorted(path.stem.split("-") for path in self.path.glob("pairs/*-*.npy"))
        return [(stem[0], stem[1]) for stem in stems if len(stem) == 2]

    def read_pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return the pair table of two modalities, columns in the order asked for.

        Raises:
            FreeBindError: It is missing, malformed, or points past an item list.
        """
        path = self.pairs_path(left, right)
        if not path.exists():
            raise FreeBindError("a pair table is missing", where=path)
        table = files.read_npy(path, "a pair table")
        check_pairs(table, [len(self.items(m)) for m in pair_key(left, right)], path)
        table = table.astype(np.int64)
        return table if (left, right) == pair_key(left, right) else table[:, ::-1]


def check_pairs(table: np.ndarray, counts: Sequence[int], where: object) -> None:
    """Raise a FreeBindError unless ``table`` is ``[p, 2]`` rows below ``counts``, none twice."""
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


def open_split(root: Path | str, split: str) -> Split:
    """Return a split of a bank root.

    Raises:
        FreeBindError: There is no such root or split; names what exists.
    """
    root = Path(root)
    if not root.is_dir():
        raise FreeBindError("there is no such bank root", where=root.absolute())
    if (root / "items").is_dir():
        raise FreeBindError("this is a split, not a bank root", where=root, fix="name its parent")
    if split not in (known := splits(root)):
        raise unknown("split", split, known, root)
    return Split(root / split)


def splits(root: Path | str) -> list[str]:
    """Return the names of the splits of a bank root."""
    return sorted(path.parent.name for path in Path(root).glob("*/items") if path.is_dir())


@dataclass(frozen=True)
class BankSet:
    """The banks of some spaces over one split, restricted to the rows that all of them have.

    Attributes:
        split: The split.
        banks: ``(space, modality)`` to bank; the banks of a modality have the same length.
        rows: Modality to ``[n]`` rows of the item list that were kept, ascending.
    """

    split: Split
    banks: Mapping[tuple[str, str], Bank]
    rows: Mapping[str, np.ndarray]

    def __getitem__(self, key: tuple[str, str]) -> Bank:
        return self.banks[key]

    def modalities(self, space: str) -> tuple[str, ...]:
        """Return the modalities of a space."""
        return tuple(modality for owner, modality in self.banks if owner == space)

    def dim(self, space: str) -> int:
        """Return the dimension of a space."""
        return next(bank.shape[1] for (owner, _), bank in self.banks.items() if owner == space)

    def fingerprints(self) -> dict[str, str]:
        """Return ``space/modality`` to the digest of that bank's manifest."""
        return {"/".join(key): bank.fingerprint for key, bank in self.banks.items()}

    def pair_fingerprints(self) -> dict[str, str]:
        """Return ``pairs/modality-modality`` to the digest of that table."""
        return {
            f"pairs/{'-'.join(pair)}": files.sha256_of(self.split.pairs_path(*pair))
            for pair in self.paired()
        }

    def paired(self) -> list[Pair]:
        """Return the pairs of modalities, both opened here, that have a table."""
        return [pair for pair in self.split.paired() if all(m in self.rows for m in pair)]

    def pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return the pair table of two modalities, in numbers of the rows kept here."""
        table = self.split.read_pairs(left, right)
        for i, modality in enumerate((left, right)):
            if modality in self.rows:  # classes need not be embedded
                table[:, i] = _renumber(self.rows[modality], table[:, i])
        return table[(table >= 0).all(axis=1)]

    def verify(self, progress: Progress = no_progress) -> None:
        """Verify every bank; see ``Bank.verify``."""
        for bank in self.banks.values():
            bank.verify(progress)


def _renumber(kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the position in ``kept`` of each of ``rows``, or -1."""
    position = np.minimum(np.searchsorted(kept, rows), len(kept) - 1)
    return np.where(kept[position] == rows, position, -1)


def open_banks(root: Path | str, split: str = POOL, *, spaces: Iterable[str]) -> BankSet:
    """Open the banks of some spaces over one split.

    Args:
        root: A bank root.
        split: One of its splits.
        spaces: Names of spaces.

    Returns:
        Their banks, restricted to the rows that all the spaces have.

    Raises:
        FreeBindError: A root, split or space does not exist; banks belong to another item list;
            a space's banks differ in dimension; no row is left.
    """
    where = open_split(root, split)
    known = where.spaces()
    banks: dict[tuple[str, str], Bank] = {}
    for space in [spaces] if isinstance(spaces, str) else spaces:
        _require_space(where, space, known)
        for modality in known[space]:
            banks[space, modality] = _open_bank(where, space, modality)
        _require_one_dim(where, space, [banks[space, m] for m in known[space]])
    rows = {m: _shared_rows(where, m, banks) for m in dict.fromkeys(m for _, m in banks)}
    return BankSet(where, {key: bank.restrict(rows[key[1]]) for key, bank in banks.items()}, rows)


def _require_space(split: Split, space: str, known: Iterable[str]) -> None:
    if space in known:
        return
    if (split.path / "embeddings" / space).is_dir():
        raise FreeBindError(
            "the banks of this space are not finished",
            where=split.path / "embeddings" / space,
            fix="run the command that writes them again: it goes on where it stopped",
        )
    raise unknown("space", space, known, split.path)


def _open_bank(split: Split, space: str, modality: str) -> Bank:
    bank = Bank(split.bank_path(space, modality))
    if (bank.space, bank.modality) != (space, modality):
        raise FreeBindError(
            "a bank lies in the wrong folder",
            where=bank.folder,
            expected=f"{space}/{modality}",
            got=f"{bank.space}/{bank.modality}",
        )
    items = split.items(modality)
    if bank.items_sha256 != items.digest or len(bank) != len(items):
        raise FreeBindError(
            "a bank belongs to another item list",
            where=bank.folder,
            expected=f"{len(items)} items of {items.path}, SHA-256 {items.digest}",
            got=f"{len(bank)} items, SHA-256 {bank.items_sha256}",
            fix="export this bank again from the items, or restore the list it was made from",
        )
    return bank


def _require_one_dim(split: Split, space: str, banks: Sequence[Bank]) -> None:
    dims = {bank.modality: bank.shape[1] for bank in banks}
    if len(set(dims.values())) > 1:
        raise FreeBindError(
            "the modalities of a space differ in dimension",
            where=split.path / "embeddings" / space,
            got=", ".join(f"{modality} {dim}" for modality, dim in dims.items()),
            fix="they must come from one model: export or import them again",
        )


def _shared_rows(split: Split, modality: str, banks: Mapping[tuple[str, str], Bank]) -> np.ndarray:
    owners = [bank for (_, owned), bank in banks.items() if owned == modality]
    rows = owners[0].present()
    for bank in owners[1:]:
        rows = np.intersect1d(rows, bank.present(), assume_unique=True)
    if not len(rows):
        raise FreeBindError(
            f"no {modality} item has an embedding in every space",
            where=split.path,
            got=", ".join(f"{bank.space} {len(bank.present())}" for bank in owners),
        )
    return rows


def verify_split(split: Split, progress: Progress = no_progress) -> list[str]:
    """Read everything in a split: items, banks, pair tables.

    Returns:
        One line for each thing that was found whole.

    Raises:
        FreeBindError: The first thing that is not.
    """
    found = []
    for partial in split.path.glob(f"embeddings/*/*/{PARTIAL}"):
        if not (partial.parent / MANIFEST).exists():
            raise FreeBindError("a bank is not finished", where=partial.parent)
    for path in sorted(split.path.glob("items/*.jsonl")):
        split.items(path.stem).verify()
        found.append(f"items {path.stem}: {len(split.items(path.stem))}, ids unique")
    for space, modalities in split.spaces().items():
        banks = [_open_bank(split, space, modality) for modality in modalities]
        _require_one_dim(split, space, banks)
        for bank in banks:
            bank.verify(progress)
            found.append(f"{space}/{bank.modality}: {describe_bank(bank)}")
    for left, right in split.paired():
        found.append(f"pairs {left}-{right}: {len(split.read_pairs(left, right))}")
    return found


def describe_bank(bank: Bank) -> str:
    """Return one line about a bank."""
    manifest = bank.array.manifest
    size = manifest.count * manifest.dim * np.dtype(manifest.dtype).itemsize
    return (
        f"{manifest.count} x {manifest.dim} {manifest.dtype}, {len(bank.missing)} missing, "
        f"{len(manifest.shards)} shards, {files.gigabytes(size)}, {bank.encoder.name}, "
        f"licence {bank.encoder.licence}"
    )
