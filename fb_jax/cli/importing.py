"""``freebind bank import`` and ``freebind bank pairs``: banks and pairs from files. No JAX."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional

from fb_jax.banks import Encoder, Split, describe_bank, split_in, splits
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.importing import (
    Choice,
    ItemColumns,
    append_to_bank,
    describe_import,
    import_bank,
    import_pairs,
    list_items,
    of_modality,
    open_sources,
)
from fb_jax.importing.lists import Listed
from fb_jax.importing.source import Source

UNKNOWN = "unknown"
DRY = "dry run: nothing written"


@dataclass(frozen=True)
class Target:
    """Where banks go.

    Attributes:
        root: Bank root; created if it is missing.
        split: pool for training, any other name for evaluation.
        space: Name of the space, such as imagebind or clap_general.
        modality: text, image, audio, or another. A folder of clip-retrieval names its own; then
            this picks one.
    """

    root: Path
    split: str
    space: str
    modality: str | None = None


def import_(
    source: Annotated[Path, Positional],
    target: OmitArgPrefixes[Target],
    choice: OmitArgPrefixes[Choice] = Choice(),  # noqa: B008  (frozen)
    items: Path | None = None,
    columns: OmitArgPrefixes[ItemColumns] = ItemColumns(),  # noqa: B008
    dtype: Literal["float16", "float32"] = "float16",
    bad_rows: Literal["refuse", "missing"] = "refuse",
    encoder: Encoder = Encoder(UNKNOWN),  # noqa: B008
    append: bool = False,
    dry_run: bool = False,
) -> None:
    """Import embeddings from files of other programs as banks.

    It reads .npy, .npz, .safetensors, .pt, Parquet, Arrow and Feather files, folders of numbered
    .npy files or of tables, Hugging Face datasets saved to disk, LanceDB tables, faiss indexes, and
    the output folder of clip-retrieval.

    Args:
        source: File or folder with a row for each item.
        target: Where the bank goes.
        choice: Which matrix of the source.
        items: List of the items: .txt (one caption in a line), .jsonl, .csv, .tsv or .parquet. By
            default columns of the source, then the list that the split has, then numbers.
        columns: Columns that say what the items are.
        dtype: Format of the stored rows.
        bad_rows: Refuse NaN, infinite and zero rows, or list them as missing.
        encoder: Encoder of the embeddings; recorded in the manifest. By default it is named after
            the source.
        append: Add the rows to the bank that is there. --items then lists the new items alone; if
            another space has brought them, it is not needed.
        dry_run: Say what would be imported, and write nothing.
    """
    if append and dry_run:
        raise FreeBindError("--append has no dry run", expected="one of --append and --dry-run")
    known = None if encoder == Encoder(UNKNOWN) else encoder
    name = source.resolve().name if encoder.name == UNKNOWN else encoder.name
    new = partial(import_bank, dtype=dtype, encoder=replace(encoder, name=name))
    write = partial(append_to_bank, encoder=known) if append else new
    split = split_in(target.root, target.split)
    for opened in of_modality(open_sources(source, choice), target.modality):
        listed = list_items(items or opened.columns, columns)
        if dry_run:
            print("\n".join(describe_import(split, target.space, opened, listed, dtype)))
            continue
        _announce(target.root, opened, listed)
        with ConsoleReporter().task("import", 0) as advance:
            bank = write(
                split,
                target.space,
                str(opened.modality),
                opened,
                items=listed,
                bad_rows=bad_rows,
                progress=advance,
            )
        print(f"{bank.folder}: {describe_bank(bank)}")
    if dry_run:
        print(DRY)


def _announce(root: Path, source: Source, items: Listed | None) -> None:
    """Print what was chosen, and a modality that is new to the root and unusual: a typo?"""
    for note in (*source.notes, *(items.notes if items else ())):
        print(note)
    modality = str(source.modality)
    spaces = [Split(root / name).spaces() for name in splits(root)]
    known = {m for owned in spaces for modalities in owned.values() for m in modalities}
    if known and modality not in {*known, "text", "image", "audio"}:
        print(f"modality {modality} is new here; {root} has {', '.join(sorted(known))}")


def pairs(
    source: Annotated[Path, Positional],
    root: Path,
    split: str,
    left: str,
    right: str,
    left_column: str | None = None,
    right_column: str | None = None,
    by: Literal["id", "row"] | None = None,
    append: bool = False,
) -> None:
    """Import the pairs of two modalities: items that belong together, for evaluation.

    Args:
        source: .npy [p, 2], .csv, .tsv, .jsonl or .parquet with two columns, many-to-many: row
            numbers from 0, or ids of the items.
        root: Bank root.
        split: Evaluation split.
        left: Modality of the first column.
        right: Modality of the second column; class for labels, whose names may be in the column.
        left_column: Name of the first column; by default the one that is named as the modality,
            otherwise the first two columns are taken.
        right_column: Name of the second column.
        by: What the values are. By default ids if all of them are ids, otherwise row numbers.
        append: Add the pairs to the table that is there.
    """
    table = import_pairs(
        split_in(root, split),
        left,
        right,
        source,
        left_column=left_column,
        right_column=right_column,
        by=by,
        append=append,
        say=print,
    )
    print(f"{len(table)} pairs of {left} and {right}")
