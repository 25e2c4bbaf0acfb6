"""What an export of banks holds: the items that have vectors, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Integer

from fb_jax import files
from fb_jax.banks import Bank, BankSet, ItemList, Progress, no_progress, open_split
from fb_jax.banks.directions import checked_unit_rows
from fb_jax.banks.items import Item
from fb_jax.banks.rows import BLOCK_ROWS
from fb_jax.errors import FreeBindError, unknown

NUMBERS = ("parts_product", "parts_balance")
"""Names of the columns for the two numbers that scores of blocks need; see ``blocks``.

They are float64: where a router gives a space hardly any weight, 1 and the second one cancel out.
"""


class Vectors(NamedTuple):
    """The vectors of some items.

    Attributes:
        vectors: ``[n, d]``.
        numbers: ``[n, 2]``, see ``NUMBERS``; None if an inner product is the score.
    """

    vectors: Float32[np.ndarray, "n d"]
    numbers: Float64[np.ndarray, "n 2"] | None = None


@dataclass(frozen=True)
class Batch:
    """Some items of one modality of a split.

    Attributes:
        records: What is known of each item: id, split, modality, row of the item list, caption and
            path (None if the item has none), and ``NUMBERS`` where there are some.
        vectors: ``[n, d]``.
    """

    records: list[dict[str, Any]]
    vectors: Float32[np.ndarray, "n d"]


@dataclass(frozen=True)
class Gallery:
    """The items of one modality of a split that have vectors.

    Attributes:
        split: Name of the split.
        modality: Name of the modality.
        items: The item list.
        rows: ``[n]`` rows of the item list that are exported, ascending.
        read: Returns the vectors of a slice of these rows.
    """

    split: str
    modality: str
    items: ItemList
    rows: Integer[np.ndarray, " n"]
    read: Callable[[slice], Vectors]

    @property
    def left_out(self) -> int:
        """Number of items without a vector."""
        return len(self.items) - len(self.rows)

    def batches(self) -> Iterator[Batch]:
        """Yield the items in the order of their rows."""
        for start in range(0, len(self.rows), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            vectors, numbers = self.read(part)
            records = [self._record(row) for row in self.rows[part].tolist()]
            if numbers is not None:
                for record, pair in zip(records, numbers.tolist(), strict=True):
                    record |= dict(zip(NUMBERS, pair, strict=True))
            yield Batch(records, vectors)

    def _record(self, row: int) -> dict[str, Any]:
        item = self.items[row]
        place = {"id": item["id"], "split": self.split, "modality": self.modality, "row": row}
        return place | {name: _text(item, name) for name in ("caption", "path")}


def _text(item: Item, name: str) -> str | None:
    return None if item.get(name) is None else str(item[name])


@dataclass(frozen=True)
class Contents:
    """What an export holds.

    Attributes:
        galleries: At least one.
        dim: Dimension of the vectors.
        made_from: What the vectors are computed from, as JSON types: form, space, banks.
        numbers: Whether every item has ``NUMBERS``.
    """

    galleries: Sequence[Gallery]
    dim: int
    made_from: Mapping[str, Any] = field(repr=False)
    numbers: bool = False

    def __post_init__(self) -> None:
        if not self.galleries:
            raise FreeBindError("there is nothing to export", expected="a split with such banks")

    def __len__(self) -> int:
        return sum(len(gallery.rows) for gallery in self.galleries)

    def batches(self, progress: Progress = no_progress) -> Iterator[Batch]:
        """Yield all items, gallery by gallery; ``progress`` hears of a batch after its use."""
        for gallery in self.galleries:
            for batch in gallery.batches():
                yield batch
                progress(len(batch.records))

    def about(self) -> dict[str, Any]:
        """Return what an export records of itself, as JSON types."""
        counts = {
            f"{g.split}/{g.modality}": {
                "exported": len(g.rows),
                "left out": g.left_out,
                "rows": files.sha256_of_bytes(np.asarray(g.rows, "<i8").tobytes()),
            }
            for g in self.galleries
        }
        form = {"dim": self.dim, "numbers": NUMBERS if self.numbers else ()}
        return files.json_types({**self.made_from, **form, "items": counts})


def row_contents(space: str, splits: Sequence[BankSet], modalities: Sequence[str] = ()) -> Contents:
    """Return the rows of a space, fused or native: unit rows, whose inner product is the cosine.

    Rows of a space with hub correction are in the role "item", which ``about`` says.

    Args:
        space: Name of the space.
        splits: Its banks over each split, opened with ``role="item"``.
        modalities: Modalities to export; none names all.

    Raises:
        FreeBindError: A split lacks a modality, or the dimension differs between splits.
    """

    galleries = [
        gallery(banks, modality, banks.rows[modality], partial(_rows, banks[space, modality]))
        for banks in splits
        for modality in chosen(modalities, banks.modalities(space), banks)
    ]
    dims = {banks.split.name: banks.dim(space) for banks in splits}
    if len(set(dims.values())) > 1:
        raise FreeBindError("the splits differ in dimension", where=space, got=dims)
    role = {"role": "item"} if any(b.role for s in splits for b in s.banks.values()) else {}
    made_from = {"form": "rows", "space": space, **role, "banks": sources_of(splits, galleries)}
    return Contents(galleries, next(iter(dims.values()), 0), made_from)


def _rows(bank: Bank, part: slice) -> Vectors:
    fix = "freebind bank verify tells more"
    return Vectors(checked_unit_rows(bank[part], "a bank", bank.folder, fix, part.start))


def gallery(
    banks: BankSet,
    modality: str,
    rows: Integer[np.ndarray, " n"],
    read: Callable[[slice], Vectors],
) -> Gallery:
    """Return some items of a modality; see ``Gallery``.

    Raises:
        FreeBindError: Two items have one id, by which other programs know them.
    """
    split = open_split(Path(banks.split.path).parent, banks.split.name)
    items = split.items(modality)
    items.verify()
    return Gallery(split.name, modality, items, rows, read)


def chosen(asked: Sequence[str], known: Sequence[str], banks: BankSet) -> Sequence[str]:
    """Return the modalities to export: those asked for, or all.

    Raises:
        FreeBindError: One of them is not there.
    """
    for modality in asked:
        if modality not in known:
            raise unknown("modality", modality, known, banks.split.path)
    return list(dict.fromkeys(asked)) or known


def sources_of(splits: Sequence[BankSet], galleries: Sequence[Gallery]) -> dict[str, Any]:
    """Return split to bank to its fingerprint and its encoder, with the licence."""
    used = {(g.split, g.modality) for g in galleries}
    return {
        banks.split.name: {
            "/".join(key): {"fingerprint": bank.fingerprint, "encoder": asdict(bank.encoder)}
            for key, bank in banks.banks.items()
            if (banks.split.name, key[1]) in used
        }
        for banks in splits
    }
