"""Bank roots and their splits: folders, item lists, and pair tables.

    ROOT/<split>/items/<modality>.jsonl                    what row i is
    ROOT/<split>/embeddings/<space>/<modality>/            a bank: emb_00000.npy ..., manifest.json
    ROOT/<split>/pairs/<modality>-<modality>.npy           [p, 2] rows that belong together
    ROOT/<split>/pairs/<modality>-<modality>.json          its digest, and those of its item lists

``pool`` holds unpaired training items; every other split is for evaluation. Labels are a pair table
whose second modality is ``class``. docs/banks.md has the details.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks.items import ItemList
from fb_jax.banks.manifest import MANIFEST
from fb_jax.errors import FreeBindError, unknown

POOL = "pool"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")

Pair = tuple[str, str]


def pair_key(left: str, right: str) -> Pair:
    """Return two modalities in the order in which pair tables name them: alphabetical."""
    return (left, right) if left <= right else (right, left)


def in_order(pair: Pair, table: Integer[np.ndarray, "p 2"]) -> Integer[np.ndarray, "p 2"]:
    """Turn the columns of a table from the order of ``pair`` to the alphabetical one, or back."""
    return table if pair == pair_key(*pair) else table[:, ::-1]


def require_name(kind: str, name: str) -> None:
    """Raise a FreeBindError unless ``name`` can name a folder and a part of a file name."""
    if not NAME.fullmatch(name):
        raise FreeBindError(
            f"{name!r} cannot name a {kind}",
            expected="a letter or digit, then letters, digits and _ . +",
        )


@dataclass(frozen=True)
class Split:
    """One split of a bank root; nothing is opened until it is needed."""

    path: Path

    def __init__(self, path: Path | str) -> None:
        object.__setattr__(self, "path", Path(path))

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

    def unfinished(self) -> list[Path]:
        """Return the folders of banks that are not finished, or have lost their manifest."""
        folders = (path for path in sorted(self.path.glob("embeddings/*/*")) if path.is_dir())
        return [f for f in folders if not (f / MANIFEST).exists() and any(f.iterdir())]

    def paired(self) -> list[Pair]:
        """Return the pairs of modalities that have a table."""
        stems = sorted(path.stem.split("-") for path in self.path.glob("pairs/*-*.npy"))
        return [(stem[0], stem[1]) for stem in stems if len(stem) == 2]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait until no other process writes item lists or pair tables here."""
        with files.locked(self.path / "items", wait=True) as held:
            if held:
                files.remove_partial(self.path / "pairs")
            yield

    def read_pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return the pair table of two modalities, columns in this order.

        Raises:
            FreeBindError: It is missing, damaged or altered, or belongs to other item lists.
        """
        pair, path = pair_key(left, right), self.pairs_path(left, right)
        fix = "import it again with freebind bank pairs"
        table = files.read_recorded(path, "a pair table", self._about(pair), fix)
        check_pairs(table, [len(self.items(m)) for m in pair], path)
        return in_order((left, right), table.astype(np.int64))

    def write_pairs(self, left: str, right: str, table: Integer[np.ndarray, "p 2"]) -> None:
        """Write the pair table of two modalities, columns in this order, and its record.

        Raises:
            FreeBindError: It is no table of distinct pairs, or points past an item list.
        """
        pair, path = pair_key(left, right), self.pairs_path(left, right)
        check_pairs(table, [len(self.items(m)) for m in (left, right)], path)
        table = in_order((left, right), table).astype(np.int64)
        files.write_recorded(path, table, self._about(pair))

    def _about(self, pair: Pair) -> dict[str, Any]:
        """Return what a pair table belongs to: rows mean nothing without these item lists."""
        return {"items": {modality: self.items(modality).digest for modality in pair}}

    def pairs_digest(self, left: str, right: str) -> str:
        """Return the SHA-256 of the pair table of two modalities."""
        return files.sha256_of(self.pairs_path(left, right))

    def copy_items_to(self, target: Split) -> None:
        """Copy item lists and pair tables to another split, unless it has them already.

        Raises:
            FreeBindError: It has others.
        """
        with target.writing():
            for path in sorted(self.path.glob("items/*.jsonl")):
                copy = target.path / path.relative_to(self.path)
                if not copy.exists():
                    with files.open_regular(path) as original:
                        files.write_atomic(copy, partial(shutil.copyfileobj, original))
                elif target.items(path.stem).digest != self.items(path.stem).digest:
                    raise _other("items", copy)
            for pair in self.paired():
                copy_pairs(target, pair, self.read_pairs(*pair))


def copy_pairs(target: Split, pair: Pair, table: Integer[np.ndarray, "p 2"]) -> None:
    """Write a pair table, columns in the order of the pair, unless it is there already.

    Raises:
        FreeBindError: Another one is there.
    """
    path = target.pairs_path(*pair)
    if not path.exists():
        target.write_pairs(*pair, table)
    elif not np.array_equal(target.read_pairs(*pair), table):
        raise _other("pairs", path)


def _other(what: str, copy: Path) -> FreeBindError:
    return FreeBindError(
        f"this root holds other {what} under the same split",
        where=copy,
        expected="those that are copied here",
        fix="choose another --out",
    )


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


def open_split(root: Path | str, split: str) -> Split:
    """Return a split of a bank root.

    Raises:
        FreeBindError: There is no such root or split; names what exists.
    """
    root = Path(root)
    require_root(root)
    if split not in (known := splits(root)):
        raise unknown("split", split, known, root)
    return Split(root / split)


def require_root(root: Path) -> None:
    """Raise a FreeBindError unless a folder can be a bank root."""
    if not root.is_dir():
        fix = "if the data were moved, name their new place with --data or --root"
        raise FreeBindError("there is no such bank root", where=root.absolute(), fix=fix)
    if (root / "items").is_dir():
        raise FreeBindError("this is a split, not a bank root", where=root, fix="name its parent")


def splits(root: Path | str) -> list[str]:
    """Return the names of the splits of a bank root."""
    return sorted(path.parent.name for path in Path(root).glob("*/items") if path.is_dir())
