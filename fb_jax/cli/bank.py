"""``freebind bank``: describe and check banks. No JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from fb_jax.banks import (
    Bank,
    Synthetic,
    describe_bank,
    describe_items,
    open_split,
    require_root,
    splits,
    verify_split,
    write_synthetic,
)
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError


def info(root: Annotated[Path, Positional]) -> None:
    """Print what is in a bank root, without reading the embeddings.

    Args:
        root: Bank root.
    """
    for name in _splits(root):
        split = open_split(root, name)
        print(name)
        for items in sorted(split.path.glob("items/*.jsonl")):
            print(f"  {describe_items(split, items.stem)}")
        for space, modalities in split.spaces().items():
            for modality in modalities:
                bank = Bank.open(split.bank_path(space, modality))
                print(f"  {space}/{modality}: {describe_bank(bank, split)}")
        for folder in split.unfinished():
            print(f"  {folder.parent.name}/{folder.name}: not finished, or without its manifest")
        for pair in split.paired():
            print(f"  pairs {'-'.join(pair)}: {len(split.read_pairs(*pair))}")


def verify(root: Annotated[Path, Positional], split: str | None = None) -> None:
    """Read a whole bank root and check it: item lists, digests, numbers, pair tables.

    Args:
        root: Bank root.
        split: Check only this split.
    """
    for name in _splits(root) if split is None else [split]:
        with ConsoleReporter().task(f"verify {name}", 0) as advance:
            lines = verify_split(open_split(root, name), advance)
        print("\n".join(f"  {line}" for line in lines))


def synthetic(out: Annotated[Path, Positional], pool: int = 2000, seed: int = 0) -> None:
    """Write a bank root of random embeddings to try the commands on.

    Args:
        out: Bank root to write.
        pool: Items of each modality in the pool.
        seed: Seed of everything random.
    """
    write_synthetic(out, Synthetic(pool=pool, seed=seed))
    print(f"{out}: random embeddings: they show that the commands work, not what FreeBind can do")


def _splits(root: Path) -> list[str]:
    require_root(root)
    if not (names := splits(root)):
        raise FreeBindError("there is no split in this bank root", where=root)
    return names
