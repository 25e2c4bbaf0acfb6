"""``freebind fuse`` and ``freebind search``: using what a run has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.markup import escape
from rich.table import Table
from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Bank, BankSet, open_banks
from fb_jax.banks.importing import open_matrix
from fb_jax.cli.evaluate import ExpertFactors
from fb_jax.cli.source import source_of
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError, unknown
from fb_jax.evaluation import nearest
from fb_jax.fusion import write_fused
from fb_jax.run.default import is_default


def fuse(
    split: str,
    factors: OmitArgPrefixes[ExpertFactors],
    run: Path | None = None,
    space: Path | None = None,
    preset: str | None = None,
    name: str | None = None,
    data: Path | None = None,
    out: Path | None = None,
    dtype: Literal["float16", "float32"] = "float16",
) -> None:
    """Write fused banks from banks: every item of a split in the space of a run or an artefact.

    Args:
        split: Split to fuse, pool or evaluation.
        factors: Weights of the expert.
        run: Run folder that train.py wrote; or --space.
        space: Fused space that train.py --product or freebind export-space wrote; needs --data.
        preset: Factors by name: versatile, at_expertise, it_expertise; halfway for experts that
            these do not fit. Default: the first that fits, or those of the artefact.
        name: Of the fused space. Default: UNIFIED+EXPERT, or that of the artefact.
        data: Bank root to read; by default the one that the run was trained on.
        out: Bank root to write. Default: the one that is read, which then has one more space; of
            the word world, RUN/fused, or fused beside the SPACE.
        dtype: How to store the rows.
    """
    source = source_of(run, space, data)
    fused, banks = source.space, source.open(split)
    fused = fused.at(preset) if preset else fused
    fused = fused.with_factors(**factors.given())
    name = name or fused.title
    root = out or _beside(banks.split.path.parent, run or (space and space.parent))
    total = sum(len(banks.split.items(m)) for m in fused.fusable(banks))
    with ConsoleReporter().task(f"fuse {split}", total) as advance:
        counts = write_fused(fused, banks, root, name, dtype=dtype, progress=advance)
    told = ", ".join(f"{count} {modality}" for modality, count in counts.items())
    at = ", ".join(f"{modality} {factor:g}" for modality, factor in fused.factors.items())
    print(f"{told} items in {root / split}, space {name}, weights of the expert: {at}")
    print(
        f"search them:  freebind search --root {root} --split {split} --space {name} "
        f"--in {fused.shared[0]} --like {fused.shared[-1]} --row 0"
    )


def _beside(root: Path, made: Path | None) -> Path:
    """Return where fused banks go: to those they come from, unless the package holds them."""
    return made / "fused" if made is not None and is_default(root) else root


def search(
    root: Path,
    split: str,
    space: str,
    find: Annotated[str, arg(name="in")],
    like: str | None = None,
    row: int | None = None,
    id: str | None = None,
    queries: Path | None = None,
    top: int = 5,
) -> None:
    """Print the nearest items of a bank for a row, an id or an .npy file of queries.

    Args:
        root: Bank root.
        split: Split to search.
        space: Space to search in, fused or not.
        find: Modality to find.
        like: Modality of the item that the query is, with --row or --id.
        row: Row of that item.
        id: Id of that item.
        queries: Embeddings of the same space to search for, .npy [q, d].
        top: Items to print for each query.
    """
    banks = open_banks(root, split, spaces=[space])
    gallery = _bank(banks, space, find)
    gallery.verify()
    if queries is not None:
        if any(part is not None for part in (like, row, id)):
            raise FreeBindError("two kinds of query", expected="--queries alone, or --like")
        vectors = np.asarray(open_matrix(queries)[:])
        titles = [escape(f"{queries}, row {i}") for i in range(len(vectors))]
    else:
        title, vectors = _own_query(banks, space, like, row, id)
        titles = [title]
    cosines, rows = nearest(vectors, gallery, top)
    found_items = banks.split.items(find)
    for title, line, numbers in zip(titles, cosines, rows, strict=True):
        table = Table("cosine", "row", find, title=title)
        for cosine, number in zip(line, banks.rows[find][numbers], strict=True):
            table.add_row(f"{cosine:.3f}", str(number), _told(found_items[int(number)]))
        console.print(table)


def _bank(banks: BankSet, space: str, modality: str) -> Bank:
    if modality not in (known := banks.modalities(space)):
        raise unknown(f"modality of {space}", modality, known, banks.split.path)
    return banks[space, modality]


def _own_query(
    banks: BankSet, space: str, like: str | None, row: int | None, item_id: str | None
) -> tuple[str, np.ndarray]:
    """Return the title and the embedding ``[1, d]`` of an item of the split."""
    if like is None or (row is None) == (item_id is None):
        raise FreeBindError(
            "there is no query",
            expected="--like MODALITY with one of --row and --id, or --queries FILE.npy",
        )
    bank, items = _bank(banks, space, like), banks.split.items(like)
    row = items.row_of(str(item_id)) if row is None else row
    title = f"{like} {row}: {_told(items[row])}"
    place = np.flatnonzero(banks.rows[like] == row)
    if not len(place):
        raise FreeBindError("this item has no embedding", where=bank.folder, got=title)
    return title, bank[place]


def _told(item: dict[str, Any]) -> str:
    return escape(str(item.get("caption") or item.get("path") or item["id"]))
