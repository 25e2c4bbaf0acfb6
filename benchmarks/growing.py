"""Seconds for next week's items: ``python benchmarks/growing.py``. Banks of random rows, in a
temporary folder; the list has a caption a row."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from fb_jax.banks import (
    BankAbout,
    Encoder,
    ItemList,
    Split,
    append_items,
    bank_grower,
    bank_writer,
    fill_rows,
    open_bank,
    open_banks,
    remove_items,
    write_items,
)
from fb_jax.banks.items import _digest

BLOCK = 50_000


@dataclass(frozen=True)
class Sizes:
    items: int = 1_000_000
    """Number of items at first."""
    new: int = 1000
    """Number of items that are added, of rows that are filled in, and of items that are removed."""
    dim: int = 128


def _rows(count: int, dim: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for start in range(0, count, BLOCK):
        yield rng.normal(size=(min(BLOCK, count - start), dim))


def _items(first: int, count: int) -> Iterator[dict[str, str]]:
    for i in range(first, first + count):
        yield {"id": str(i), "caption": f"caption number {i}, " + "and so on " * 6}


def _write(split: Split, space: str, items: ItemList, dim: int, missing: int) -> None:
    about = BankAbout(space, "text", Encoder("random"), items.digest, np.arange(missing))
    folder = split.bank_path(space, "text")
    with bank_writer(folder, about, dim=dim, count=len(items)) as writer:
        for block in _rows(len(items), dim):
            block[:missing], missing = 0, max(0, missing - len(block))
            writer.append(block)


def _grow(split: Split, items: ItemList, sizes: Sizes) -> None:
    bank = open_bank(split, "a", "text")
    about = BankAbout("a", "text", bank.encoder, items.digest)
    with bank_grower(bank, about, start=sizes.items, count=len(items)) as writer:
        for block in _rows(sizes.new, sizes.dim):
            writer.append(block)


def _fill(split: Split, sizes: Sizes) -> None:
    bank = open_bank(split, "b", "text")
    fill_rows(bank, bank.missing, np.concatenate([*_rows(len(bank.missing), sizes.dim)]))


def _timed(what: str, work: Callable[[], object]) -> None:
    _digest.cache_clear()  # as in a new process
    began = time.perf_counter()
    work()
    print(f"{what:<44} {time.perf_counter() - began:6.2f} s")


def main(sizes: Sizes) -> None:
    """Write two banks, let one grow, fill in rows of the other, and remove items."""
    with tempfile.TemporaryDirectory() as folder:
        split = Split(Path(folder) / "pool")
        with split.writing():
            items = write_items(split.items_path("text"), _items(0, sizes.items))
        for space, missing in (("a", 0), ("b", sizes.new)):
            _write(split, space, items, sizes.dim, missing)
        new = list(_items(sizes.items, sizes.new))
        opened = lambda: open_banks(folder, spaces="a")  # noqa: E731
        _timed("open a bank", opened)
        _timed("add items to its list", lambda: append_items(split, "text", new, sizes.items))
        _timed("add their rows", lambda: _grow(split, split.items("text"), sizes))
        _timed("open it again", opened)
        _timed("open one that lacks them", lambda: open_banks(folder, spaces="b"))
        _timed("fill in its missing rows", lambda: _fill(split, sizes))
        gone = [str(i) for i in range(sizes.new)]
        _timed("remove items", lambda: remove_items(split, "text", gone))
        _timed("open it again", opened)


if __name__ == "__main__":
    main(tyro.cli(Sizes))
