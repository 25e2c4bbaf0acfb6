"""``freebind bank``: import, describe and check banks. No JAX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from fb_jax.banks import (
    Bank,
    Encoder,
    Split,
    Synthetic,
    describe_bank,
    open_split,
    require_root,
    splits,
    verify_split,
    write_synthetic,
)
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.importing import import_bank, import_pairs

UNKNOWN = "unknown"


def info(root: Annotated[Path, Positional]) -> None:
    """Print what is in a bank root, without reading the embeddings.

    Args:
        root: Bank root.
    """
    for name in _splits(root):
        split = open_split(root, name)
        print(name)
        for space, modalities in split.spaces().items():
            for modality in modalities:
                bank = Bank.open(split.bank_path(space, modality))
                print(f"  {space}/{modality}: {describe_bank(bank)}")
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
    for name in [split] if split else _splits(root):
        with ConsoleReporter().task(f"verify {name}", 0) as advance:
            lines = verify_split(open_split(root, name), advance)
        print("\n".join(f"  {line}" for line in lines))


def import_(
    source: Annotated[Path, Positional],
    root: Path,
    split: str,
    space: str,
    modality: str,
    items: Path | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    bad_rows: Literal["refuse", "missing"] = "refuse",
    encoder: Encoder = Encoder(UNKNOWN),  # noqa: B008  (frozen)
) -> None:
    """Import a matrix of embeddings, .npy or .safetensors, as a bank.

    Args:
        source: The matrix, one row for each item.
        root: Bank root; created if it is missing.
        split: pool for training, any other name for evaluation.
        space: Name of the space, such as imagebind or clap_general.
        modality: text, image, audio, or another.
        items: List of the items: .jsonl (objects with an "id") or .txt (one caption in a line).
        dtype: Format of the stored rows.
        bad_rows: Refuse NaN, infinite and zero rows, or list them as missing.
        encoder: Encoder of the embeddings; recorded in the manifest. By default it is named after
            the file.
    """
    with ConsoleReporter().task("import", 0) as advance:
        bank = import_bank(
            Split(root / split),
            space,
            modality,
            source,
            items=items,
            dtype=dtype,
            encoder=replace(encoder, name=source.name) if encoder.name == UNKNOWN else encoder,
            bad_rows=bad_rows,
            progress=advance,
        )
    print(f"{bank.folder}: {describe_bank(bank)}")


def pairs(
    source: Annotated[Path, Positional], root: Path, split: str, left: str, right: str
) -> None:
    """Import the pairs of two modalities: rows that belong together, for evaluation.

    Args:
        source: .npy [p, 2] or .csv with two columns: row numbers from 0, many-to-many.
        root: Bank root.
        split: Evaluation split.
        left: Modality of the first column.
        right: Modality of the second column; class for labels.
    """
    table = import_pairs(Split(root / split), left, right, source)
    print(f"{len(table)} pairs of {left} and {right}")


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
