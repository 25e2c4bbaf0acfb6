"""Fused rows on disk: from banks, banks. A fused space is a space like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fb_jax import files
from fb_jax.banks import (
    BankAbout,
    BankSet,
    Encoder,
    Progress,
    Split,
    bank_writer,
    no_progress,
    require_name,
)
from fb_jax.fusion.layout import digest
from fb_jax.fusion.sources import fusable, sources
from fb_jax.fusion.space import FusedSpace
from fb_jax.numerics import Precision

BLOCK_ROWS = 16384


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
    for modality in modalities:
        _write_modality(space, banks, target, modality, name, dtype, progress, precision)
    return {modality: len(banks.rows[modality]) for modality in modalities}


def _write_modality(
    space: FusedSpace,
    banks: BankSet,
    target: Split,
    modality: str,
    name: str,
    dtype: str,
    progress: Progress,
    precision: Precision,
) -> None:
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
    with bank_writer(folder, about, **form, dtype=dtype, shard_rows=BLOCK_ROWS) as writer:
        progress(writer.rows_done)
        for start in range(writer.rows_done, len(items), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(items))
            first, last = np.searchsorted(kept, [start, stop]).tolist()
            block = np.zeros((stop - start, space.dim), np.float32)
            if first < last:
                rows = sources(space, banks, modality, slice(first, last))
                block[kept[first:last] - start] = space.fuse(modality, rows, precision)
            writer.append(block)
            progress(stop - start)


def _derived_licence(banks: BankSet) -> str:
    """Return the licences of the sources: a derived embedding falls under all of them."""
    licences = dict.fromkeys(
        f"{bank.encoder.licence} ({space})" for (space, _), bank in banks.banks.items()
    )
    return "derived from " + ", ".join(licences)
