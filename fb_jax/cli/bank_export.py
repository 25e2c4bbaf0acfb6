"""``freebind bank export``: banks as files of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import open_banks
from fb_jax.cli.device import on_device
from fb_jax.cli.source import source_of
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.interop import Contents, block_contents, row_contents, write_export
from fb_jax.interop.programs import Index, is_exact, writer_for
from fb_jax.run import Device

Form = Literal["rows", "blocks"]


@dataclass(frozen=True)
class Origin:
    """Where vectors come from."""

    root: Annotated[Path | None, arg(metavar="BANK_ROOT", aliases=["--data"])] = None
    """Bank root to read; for a run or a product, by default the one that it was trained on."""

    space: str | None = None
    """Space whose rows to export, fused or native (--form rows)."""

    run: Path | None = None
    """Folder of a run or a product (--form blocks)."""

    fused: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder of a fused space; needs --root (--form blocks)."""


@on_device
def export(
    split: Annotated[list[str], arg(metavar="SPLIT ...")],
    to: Annotated[str, arg(metavar="PROGRAM")],
    out: Path,
    origin: OmitArgPrefixes[Origin],
    form: Form = "rows",
    modality: Annotated[list[str] | None, arg(metavar="MODALITY ...")] = None,
    index: Index = "auto",
    device: Device = "auto",
) -> None:
    """Write ids, captions, paths and vectors for another program.

    Items without a vector are left out and counted. docs/interop has a page for every program.

    Args:
        split: Splits to export, one or several.
        to: Program: parquet, lancedb, faiss, qdrant or duckdb.
        out: Folder to create.
        origin: Where the vectors come from.
        form: Rows of a space, or the blocks that a fused space mixes. With blocks, the factors are
            part of a query, and other factors need no new export.
        modality: Modalities to export; by default all.
        index: Exact or approximate search; by default exact up to 100000 items. Only faiss and
            lancedb have an approximate index.
        device: Device to compute on.
    """
    writer_for(to)  # a missing package is an error before long work
    splits = list(dict.fromkeys(split))
    contents = (_rows if form == "rows" else _blocks)(origin, splits, modality or [])
    exact = is_exact(to, index, len(contents))
    with ConsoleReporter().task(f"export to {to}", len(contents)) as advance:
        written = write_export(contents, to, out, index=index, progress=advance)
    _report(contents, out, exact, written)


def _rows(origin: Origin, splits: Sequence[str], modalities: Sequence[str]) -> Contents:
    root, space = origin.root, origin.space
    if root is None or space is None or origin.run or origin.fused:
        raise FreeBindError(
            "it is not clear whose rows to export",
            expected="--root BANK_ROOT --space NAME, or --form blocks with --run or --fused",
            fix="freebind fuse writes the fused rows of a run as a space",
        )
    banks = {split: open_banks(root, split, spaces=[space], role="item") for split in splits}
    contents = row_contents(space, list(banks.values()), modalities)
    with ConsoleReporter().task("verify", 0) as advance:
        for gallery in contents.galleries:
            banks[gallery.split][space, gallery.modality].verify(advance)
    return contents


def _blocks(origin: Origin, splits: Sequence[str], modalities: Sequence[str]) -> Contents:
    if origin.space is not None:
        raise FreeBindError(
            "banks do not know the blocks of their rows",
            expected="--form blocks with --run or --fused, or --form rows with --space",
        )
    source = source_of(origin.run, origin.fused, origin.root)
    return block_contents(source.space, [source.open(split) for split in splits], modalities)


def _report(contents: Contents, out: Path, exact: bool, written: bool) -> None:
    for gallery in contents.galleries:
        line = f"{gallery.split}/{gallery.modality}: {len(gallery.rows)} items"
        left = f", {gallery.left_out} left out (without a vector, or removed)"
        print(line + left * bool(gallery.left_out))
    banks = [bank for split in contents.made_from["banks"].values() for bank in split.values()]
    print("licence: " + ", ".join(dict.fromkeys(bank["encoder"]["licence"] for bank in banks)))
    search = "exact" if exact else "approximate"
    done = "written" if written else "this very export was there already"
    print(f"{out}: {contents.dim} dimensions, inner product, {search} search; {done}")
    if contents.numbers:
        print("score: inner product / sqrt(a + b * parts_product + c * parts_balance); a, b and c:")
        print("BlockQuery(SPACE).norm_terms(MODALITY), see docs/interop")
    if "role" in contents.made_from:
        print('hub correction: ask with FusedSpace.fuse(MODALITY, rows, role="query")')
