"""A bank from rows in files of another program: open the source, list the items, write the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    Progress,
    Rows,
    ShardWriter,
    Split,
    bank_writer,
    no_progress,
    require_name,
    unit_rows,
)
from fb_jax.banks.directions import find_all_bad_rows, refuse_bad_rows
from fb_jax.banks.rows import blocks_of
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.importing.lists import Listed, list_items, require_items, store_items
from fb_jax.importing.readers import open_source
from fb_jax.importing.source import Source

BadRows = Literal["refuse", "missing"]
"""What to do with NaN, infinite and zero rows: refuse them, or list them as missing."""


def import_bank(
    split: Split,
    space: str,
    modality: str,
    source: Source | Path | str,
    *,
    items: Listed | Path | str | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    encoder: Encoder | None = None,
    bad_rows: BadRows = "refuse",
    progress: Progress = no_progress,
) -> Bank:
    """Make a bank from rows on disk.

    Args:
        split: Split of the bank; its folder need not exist.
        space: Name of the space.
        modality: Name of the modality.
        source: File or folder with ``[n, d]`` floats of any norm (docs/importing.md), or a source
            that ``open_source`` opened.
        items: The item list: a file, or what ``list_items`` returned. None takes the columns of
            the source; if it has none, the list that the split has; if it has none, numbers.
        dtype: How to store the rows.
        encoder: The model that computed the embeddings; None names the source.
        bad_rows: Refuse NaN, infinite and zero rows, or list them as missing.
        progress: Called with the number of rows just written.

    Raises:
        FreeBindError: The rows or the items cannot be used; their numbers differ; rows are bad.
    """
    opened, listed = open_named(source, modality, items)
    require_bank(split, space, modality, opened)
    scan = scan_source(opened, bad_rows)
    if len(scan.missing) == (count := len(opened.matrix)):
        raise FreeBindError("every row is NaN, infinite or zero", where=opened.path, got=count)
    require_items(split, modality, listed, count)
    about = BankAbout(
        space=space,
        modality=modality,
        encoder=encoder or Encoder(opened.path.resolve().name),
        items_sha256=store_items(split, modality, listed, count).digest,
        missing=scan.missing,
        made_from=scan.digest,
    )
    return _write(split.bank_path(space, modality), about, opened.matrix, dtype, progress)


def open_named(
    source: Source | Path | str, modality: str, items: Listed | Path | str | None
) -> tuple[Source, Listed | None]:
    """Open what is not open yet, and say what was chosen."""
    opened = source if isinstance(source, Source) else open_source(source, modality)
    listed = items if isinstance(items, Listed) else list_items(items or opened.columns)
    notes = () if opened is source else opened.notes
    for note in (*notes, *(listed.notes if listed and listed is not items else ())):
        notice_once(f"{opened.path}: {note}")
    return opened, listed


def require_bank(split: Split, space: str, modality: str, source: Source) -> None:
    """Raise a FreeBindError unless a bank of these names and columns can be in a split."""
    for kind, name in (("split", split.name), ("space", space), ("modality", modality)):
        require_name(kind, name)
    _require_same_dim(split, space, modality, source.matrix.shape[1])


class Scan(NamedTuple):
    """What one pass over rows finds.

    Attributes:
        bad: Numbers of the rows without a direction, by kind.
        digest: SHA-256 of shape, dtype and rows: the same for the same rows in another format.
    """

    bad: dict[str, np.ndarray]
    digest: str

    @property
    def missing(self) -> Integer[np.ndarray, " m"]:
        """Numbers of all bad rows, ascending."""
        return np.sort(np.concatenate(list(self.bad.values())))


def scan_source(source: Source, bad_rows: BadRows) -> Scan:
    """Read the rows of a source once, and refuse bad ones unless they may be missing."""
    scan = scan_rows(source.matrix)
    if bad_rows == "refuse":
        fix = "correct them, or use --bad-rows missing"
        refuse_bad_rows("a matrix", source.path, scan.bad, fix)
    return scan


def scan_rows(rows: Rows) -> Scan:
    """Read rows once, block by block."""
    digest = hashlib.sha256(str(tuple(rows.shape)).encode())

    def digested() -> Iterator[tuple[int, np.ndarray]]:
        for start, block in blocks_of(rows):
            digest.update(block.dtype.str.encode() if start == 0 else b"")
            digest.update(np.ascontiguousarray(block).data)
            yield start, block

    bad = find_all_bad_rows(digested())
    return Scan(bad, digest.hexdigest())


def _write(folder: Path, about: BankAbout, rows: Rows, dtype: str, progress: Progress) -> Bank:
    count, dim = rows.shape
    with bank_writer(folder, about, dim=dim, count=count, dtype=dtype) as writer:
        write_rows(writer, rows, about.missing, progress)
    return Bank.open(folder)


def _require_same_dim(split: Split, space: str, modality: str, dim: int) -> None:
    """Raise a FreeBindError if the space has other dimensions in another modality of the split."""
    for other in split.spaces().get(space, []):
        there = Bank.open(split.bank_path(space, other)).shape[1]
        if other != modality and there != dim:
            raise FreeBindError(
                "the modalities of a space differ in dimension",
                where=split.bank_path(space, other),
                expected=f"{there} columns, as {other} has in {space}",
                got=f"{dim} columns",
                fix="they must come from one model; choose another --space for another model",
            )


def write_rows(
    writer: ShardWriter, rows: Rows, missing: Integer[np.ndarray, " m"], progress: Progress
) -> None:
    """Write what is not there yet of ``[n, d]`` rows, as unit rows; missing ones as zeros."""
    for start, block in blocks_of(rows, writer.rows_done):
        writer.append(_storable(block, missing - start))
        progress(len(block))


def _storable(block: np.ndarray, missing: Integer[np.ndarray, " m"]) -> np.ndarray:
    """Return a block ``[r, d]`` as unit rows, which float16 can hold; missing ones as zeros."""
    block = np.array(block)
    block[missing[(missing >= 0) & (missing < len(block))]] = 0
    return unit_rows(block)
