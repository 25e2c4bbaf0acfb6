"""Bank roots and their splits: folders, item lists, and pair tables.

    ROOT/<split>/items/<modality>.jsonl                    what row i is
    ROOT/<split>/items/<modality>.removed.json             which rows were removed, if any were
    ROOT/<split>/embeddings/<space>/<modality>/            a bank: emb_00000.npy ..., manifest.json
    ROOT/<split>/pairs/<modality>-<modality>.npy           [p, 2] rows that belong together
    ROOT/<split>/pairs/<modality>-<modality>.json          its digest, and those of its item lists

``pool`` holds unpaired training items; every other split is for evaluation. Labels are a pair table
whose second modality is ``class``. docs/banks.md has the details.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks.items import ItemList
from fb_jax.banks.manifest import MANIFEST
from fb_jax.banks.pair_tables import (
    EarlierPairs,
    Pair,
    PairsRecord,
    among,
    check_pairs,
    in_order,
    pair_key,
    require_two,
)
from fb_jax.errors import FreeBindError

POOL = "pool"


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
        """Return the pair table of two modalities, columns in this order, without removed items.

        Raises:
            FreeBindError: It is missing, damaged or altered, or belongs to other item lists.
        """
        table = self.stored_pairs(left, right)
        for column, modality in enumerate((left, right)):
            if len(removed := self.items(modality).removed):
                table = table[~np.isin(table[:, column], removed)]
        return table

    def stored_pairs(self, left: str, right: str) -> Integer[np.ndarray, "p 2"]:
        """Return a pair table as it is stored, with the pairs of removed items; see above."""
        pair, path = pair_key(left, right), self.pairs_path(left, right)
        require_two(pair, path, f"move {path} out of the bank root")
        what, fix = "a pair table", "import it again with freebind bank pairs"
        about, record = self._about(pair), files.record_of(path, what)
        if record is not None and self._were(about["items"], record.get("items")):
            about = record
        table = files.read_recorded(path, what, about, fix)
        check_pairs(table, [len(self.items(m)) for m in pair], path)
        return in_order((left, right), table.astype(np.int64))

    def write_pairs(self, left: str, right: str, table: Integer[np.ndarray, "p 2"]) -> None:
        """Write the pair table of two modalities, columns in this order, and its record.

        Raises:
            FreeBindError: It is no table of distinct pairs, or points past an item list.
        """
        self._write_pairs(pair_key(left, right), in_order((left, right), table), [])

    def append_pairs(self, left: str, right: str, table: Integer[np.ndarray, "p 2"]) -> int:
        """Add pairs at the end of a table; see ``write_pairs``. Those that it has are left out.

        Returns:
            How many pairs were added.
        """
        pair, path = pair_key(left, right), self.pairs_path(left, right)
        check_pairs(in_order((left, right), table), [len(self.items(m)) for m in pair], path)
        known, new = self.stored_pairs(*pair), in_order((left, right), table).astype(np.int64)
        new = new[~among(new, known)]
        if len(new):
            before = {"pairs": len(known), "npy": self.pairs_digest(*pair)}
            earlier = [*map(asdict, self._earlier(path)), before]
            self._write_pairs(pair, np.concatenate([known, new]), earlier)
        return len(new)

    def _write_pairs(self, pair: Pair, table: np.ndarray, earlier: list[dict[str, Any]]) -> None:
        path = self.pairs_path(*pair)
        require_two(pair, path)
        check_pairs(table, [len(self.items(m)) for m in pair], path)
        about = self._about(pair) | ({"earlier": earlier} if earlier else {})
        files.write_recorded(path, table.astype(np.int64), about)

    def pairs_at(self, left: str, right: str, digest: str) -> int | None:
        """Return how many pairs a table had at an earlier digest; None if it never had it."""
        states = self._earlier(self.pairs_path(left, right))
        return next((state.pairs for state in states if state.npy == digest), None)

    @staticmethod
    def _earlier(path: Path) -> list[EarlierPairs]:
        if not files.recorded(path):
            return []
        return files.read_json(path.with_suffix(".json"), PairsRecord).earlier

    def _about(self, pair: Pair) -> dict[str, Any]:
        """Return what a pair table belongs to: rows mean nothing without these item lists."""
        return {"items": {modality: self.items(modality).digest for modality in pair}}

    def _were(self, items: dict[str, str], then: Any) -> bool:
        """Return whether the item lists had these digests before they grew."""
        return (
            isinstance(then, dict)
            and set(then) == set(items)
            and all(self.items(m).length_at(str(digest)) is not None for m, digest in then.items())
        )

    def pairs_digest(self, left: str, right: str) -> str:
        """Return the SHA-256 of the pair table of two modalities."""
        return files.sha256_of(self.pairs_path(left, right))

    def copy_items_to(self, target: Split) -> None:
        """Copy item lists and pair tables to another split, unless it has them already.

        Those of an earlier state of this split grow.

        Raises:
            FreeBindError: It has others.
        """
        with target.writing():
            for path in sorted(self.path.glob("items/*.jsonl")):
                _copy_list(self.items(path.stem), target.path / path.relative_to(self.path))
            for pair in self.paired():
                copy_pairs(target, pair, self.stored_pairs(*pair))


def _copy_list(items: ItemList, copy: Path) -> None:
    """Copy an item list and its removed rows, unless they are there; an earlier state grows."""
    there = ItemList(copy) if copy.exists() else None
    if there is None or there.digest != items.digest:
        if there is not None and items.length_at(there.digest) is None:
            raise _other("items", copy)
        with files.open_regular(items.path) as original:
            files.write_atomic(copy, partial(shutil.copyfileobj, original))
    here, gone = ItemList(copy).removed.tolist(), items.removed.tolist()
    if here != gone[: len(here)]:
        raise _other("removed items", copy)
    if here != gone:
        with files.open_regular(items.removed_path) as original:
            files.write_atomic(ItemList(copy).removed_path, partial(shutil.copyfileobj, original))


def copy_pairs(target: Split, pair: Pair, table: Integer[np.ndarray, "p 2"]) -> None:
    """Write a pair table, columns in the order of the pair, unless it is there already.

    Raises:
        FreeBindError: Another one is there.
    """
    path = target.pairs_path(*pair)
    if not path.exists():
        target.write_pairs(*pair, table)
        return
    there = target.stored_pairs(*pair)
    if not np.array_equal(there, table[: len(there)]):
        raise _other("pairs", path)
    if len(there) < len(table):
        target.append_pairs(*pair, table)


def _other(what: str, copy: Path) -> FreeBindError:
    return FreeBindError(
        f"this root holds other {what} under the same split",
        where=copy,
        expected="those that are copied here",
        fix="choose another --out",
    )
