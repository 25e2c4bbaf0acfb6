"""Fused rows on disk: from banks, banks. A fused space is a space like any other."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from fb_jax import files
from fb_jax.banks import (
    BankAbout,
    BankSet,
    Encoder,
    Progress,
    ShardWriter,
    Split,
    bank_writer,
    no_progress,
    require_name,
)
from fb_jax.errors import FreeBindError
from fb_jax.fusion.layout import digest
from fb_jax.fusion.sources import fusable, sources
from fb_jax.fusion.space import FusedSpace
from fb_jax.numerics import Precision

BLOCK_ROWS = 16384
DERIVED = "derived from "
"""How the licence of fused rows begins."""


def write_fused(
    space: FusedSpace,
    banks: BankSet,
    root: Path | str,
    name: str,
    *,
    dtype: str = "float16",
    progress: Progress = no_progress,
    precision: Precision = "float32",
) -> dict[str, int]:
    """Fuse every item of a split that all the spaces have, and write banks of the fused space.

    Items keep their rows; those that a space lacks are listed as missing. An interrupted run
    continues after its last shard.

    Args:
        space: The fused space, at its factors.
        banks: All its native spaces, over any split.
        root: Bank root to write to: the one the banks come from, or another, which then gets
            copies of the item lists and pair tables.
        name: Name of the fused space.
        dtype: How to store the rows: "float16" or "float32".
        progress: Called with the number of rows just written.
        precision: Precision of the projectors' matrix products.

    Returns:
        Modality to the number of fused items.

    Raises:
        FreeBindError: The root holds other items or another space of this name.
    """
    require_name("space", name)
    target = Split(Path(root) / banks.split.name)
    banks.split.copy_items_to(target)
    modalities = fusable(space, banks)
    with ExitStack() as stack:
        writers = {
            m: stack.enter_context(_writer(space, banks, target, m, name, dtype, precision))
            for m in modalities
        }
        progress(sum(writer.rows_done for writer in writers.values()))
        for modality, writer in writers.items():
            _fill(writer, len(target.items(modality)), space, banks, modality, precision, progress)
    return {modality: len(banks.rows[modality]) for modality in modalities}


def _writer(
    space: FusedSpace,
    banks: BankSet,
    target: Split,
    modality: str,
    name: str,
    dtype: str,
    precision: Precision,
) -> AbstractContextManager[ShardWriter]:
    items, kept = target.items(modality), banks.rows[modality]
    about = BankAbout(
        space=name,
        modality=modality,
        encoder=Encoder(name, digest(space), _derived_licence(banks)),
        items_sha256=items.digest,
        missing=np.setdiff1d(np.arange(len(items)), kept),
        made_from=files.sha256_of_json([banks.fingerprints(), precision]),
    )
    folder, form = target.bank_path(name, modality), {"dim": space.dim, "count": len(items)}
    return bank_writer(folder, about, **form, dtype=dtype, shard_rows=BLOCK_ROWS)


def _fill(
    writer: ShardWriter,
    count: int,
    space: FusedSpace,
    banks: BankSet,
    modality: str,
    precision: Precision,
    progress: Progress,
) -> None:
    """Write the rows of a modality that are not there yet."""
    kept = banks.rows[modality]
    for start in range(writer.rows_done, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        first, last = np.searchsorted(kept, [start, stop]).tolist()
        block = np.zeros((stop - start, space.dim), np.float32)
        if first < last:
            rows, here = sources(space, banks, modality, slice(first, last)), kept[first:last]
            block[here - start] = _fused(space, modality, rows, precision, here)
        writer.append(block)
        progress(stop - start)
    writer.close()  # so that an interruption of the next modality keeps the last rows


def _fused(
    space: FusedSpace,
    modality: str,
    rows: dict[str, np.ndarray],
    precision: Precision,
    numbers: np.ndarray,
) -> np.ndarray:
    """Fuse a block of rows; an error says which items the rows of the block are."""
    try:
        return space.fuse(modality, rows, precision)
    except FreeBindError as error:
        raise FreeBindError(
            f"{modality} cannot be fused",
            where=f"{len(numbers)} rows, which are items {numbers[0]} to {numbers[-1]}",
            got=error,
        ) from error


def _derived_licence(banks: BankSet) -> str:
    """Return the licences of the sources: a derived embedding falls under all of them."""
    licences = dict.fromkeys(
        f"{bank.encoder.licence} ({space})" for (space, _), bank in banks.banks.items()
    )
    return DERIVED + ", ".join(licences)
