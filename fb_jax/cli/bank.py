"""``freebind bank``: banks in, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from fb_jax.banks import (
    Bank,
    Encoder,
    Split,
    Synthetic,
    import_bank,
    import_pairs,
    open_split,
    splits,
    verify_split,
    write_synthetic,
)
from fb_jax.banks import describe_bank
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError

bank = SubcommandApp()
UNKNOWN = Encoder("unknown")


@bank.command(name="info")
def info(root: Annotated[Path, Positional]) -> None:
    """Tell what is in a bank root, without reading the embeddings."""
    for name in _splits(root):
        split = open_split(root, name)
        print(name)
        for space, modalities in split.spaces().items():
            for modality in modalities:
                found = Bank.open(split.bank_path(space, modality))
                print(f"  {space}/{modality}: {describe_bank(found)}")
        for pair in split.paired():
            print(f"  pairs {'-'.join(pair)}: {len(split.read_pairs(*pair))}")


@bank.command(name="verify")
def verify(root: Annotated[Path, Positional], split: str | None = None) -> None:
    """Read a whole bank root: item lists, every digest, every number, pair tables.

    Args:
        root: Bank root.
        split: Only this split.
    """
    for name in [split] if split else _splits(root):
        with ConsoleReporter().task(f"verify {name}", 0) as advance:
            found = verify_split(open_split(root, name), advance)
        print("\n".join(f"  {line}" for line in found))


@bank.command(name="import")
def import_(
    source: Annotated[Path, Positional],
    root: Path,
    split: str,
    space: str,
    modality: str,
    items: Path | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    bad_rows: Literal["refuse", "missing"] = "refuse",
    encoder: Encoder = UNKNOWN,
) -> None:
    """Make a bank from a matrix of embeddings, .npy or .safetensors.

    Args:
        source: The matrix, a row an item.
        root: Bank root; made if it is missing.
        split: pool for training, any other name for evaluation.
        space: Name of the space, such as imagebind or clap_general.
        modality: text, image, audio, or another.
        items: What the rows are: .jsonl (objects with an "id") or .txt (a caption a line).
        dtype: How to store the rows.
        bad_rows: NaN, infinite and zero rows: refuse them, or list them as missing.
        encoder: What made the embeddings; recorded in the manifest.
    """
    with ConsoleReporter().task("import", 0) as advance:
        made = import_bank(
            Split(root / split),
            space,
            modality,
            source,
            items=items,
            dtype=dtype,
            encoder=None if encoder == UNKNOWN else encoder,
            bad_rows=bad_rows,
            progress=advance,
        )
    print(f"{made.folder}: {describe_bank(made)}")


@bank.command(name="pairs")
def pairs(
    source: Annotated[Path, Positional], root: Path, split: str, left: str, right: str
) -> None:
    """Store which rows of two modalities belong together, for evaluation.

    Args:
        source: .npy [p, 2] or .csv with two columns: row numbers from 0, many-to-many.
        root: Bank root.
        split: Evaluation split.
        left: Modality of the first column.
        right: Modality of the second column; class for labels.
    """
    table = import_pairs(Split(root / split), left, right, source)
    print(f"{len(table)} pairs of {left} and {right}")


@bank.command(name="synthetic")
def synthetic(out: Annotated[Path, Positional], pool: int = 2000, seed: int = 0) -> None:
    """Write a bank root of made-up embeddings, to try the commands on.

    Args:
        out: Bank root to write.
        pool: Items of each modality in the pool.
        seed: Of everything random.
    """
    write_synthetic(out, Synthetic(pool=pool, seed=seed))
    print(f"{out}: synthetic embeddings; they show plumbing, not what FreeBind can do")


def _splits(root: Path) -> list[str]:
    if not (names := splits(root)):
        raise FreeBindError("there is no split in this bank root", where=root)
    return names
