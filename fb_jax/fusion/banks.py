"""Fused rows on disk: from banks, banks. A fused space is a space like any other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks import (
    Bank,
    BankAbout,
    BankSet,
    Encoder,
    Progress,
    ShardedArray,
    ShardWriter,
    Split,
    bank_grower,
    bank_writer,
    no_progress,
    open_bank,
    require_name,
    settle,
)
from fb_jax.errors import FreeBindError
from fb_jax.fusion.again import first_to_fuse
from fb_jax.fusion.layout import digest
from fb_jax.fusion.sources import by_spaces, fusable, sources
from fb_jax.fusion.space import FusedSpace
from fb_jax.numerics import Precision

BLOCK_ROWS = 16384
DERIVED = "derived from "
"""How the licence of fused rows begins."""

Missing = Literal["unified", "leave-out"]
"""What becomes of items that an expert lacks; see ``write_fused``."""


def write_fused(
    space: FusedSpace,
    banks: BankSet,
    root: Path | str,
    name: str,
    *,
    dtype: str = "float16",
    missing: Missing = "unified",
    progress: Progress = no_progress,
    precision: Precision = "float32",
) -> dict[str, int]:
    """Fuse every item of a split, and write banks of the fused space: rows of items to be found.

    Rows of a space with hub correction are in the role "item"; ``space.plain`` gives plain ones.
    Items keep their rows. The manifests list the items that some expert lacks (``partial``) and
    those without a row (``missing``). An interrupted run continues after its last shard. If the
    banks have grown since an earlier run, only new rows are fused, and those from the first one on
    whose expert has come.

    Args:
        space: The fused space, at its factors.
        banks: All its native spaces, over any split.
        root: Bank root to write to: the one the banks come from, or another, which then gets
            copies of the item lists and pair tables.
        name: Name of the fused space.
        dtype: How to store the rows: "float16" or "float32".
        missing: What to do with items that an expert lacks: "unified" fuses them from the unified
            space and the experts that have them (see ``FusedSpace.parts``), "leave-out" lists
            them as missing. Items that the unified space lacks are always missing.
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
    groups = {
        m: [banks] if missing == "leave-out" else by_spaces(space, banks, m)
        for m in fusable(space, banks)
    }
    with ExitStack() as stack:
        about = {m: _about(space, banks, target, groups[m], m, name, precision) for m in groups}
        asked = {m: _writer(about[m], target, space.role_dim, dtype, banks) for m in groups}
        writers = {m: stack.enter_context(writer) for m, writer in asked.items() if writer}
        counts = {m: len(target.items(m)) for m in groups}
        new = sum(counts[m] - writer.first - writer.rows_done for m, writer in writers.items())
        progress(sum(counts.values()) - new)
        for modality, writer in writers.items():
            _fill(writer, counts[modality], space, groups[modality], modality, precision, progress)
    return {m: sum(len(group.rows[m]) for group in groups[m]) for m in groups}


def _about(
    space: FusedSpace,
    banks: BankSet,
    target: Split,
    groups: Sequence[BankSet],
    modality: str,
    name: str,
    precision: Precision,
) -> BankAbout:
    items = target.items(modality)
    kept = np.concatenate([group.rows[modality] for group in groups])
    return BankAbout(
        space=name,
        modality=modality,
        encoder=Encoder(name, digest(space), _derived_licence(banks)),
        items_sha256=items.digest,
        missing=np.setdiff1d(np.arange(len(items)), kept),
        made_from=files.sha256_of_json([banks.origins(), precision]),
        partial=_partial(space, groups, modality),
        role="" if space.hubs is None else "item",
    )


def _writer(
    about: BankAbout, target: Split, dim: int, dtype: str, banks: BankSet
) -> AbstractContextManager[ShardWriter] | None:
    """Return the context that writes a bank, or what is new in it; None if nothing is."""
    folder, count = target.bank_path(about.space, about.modality), len(target.items(about.modality))
    if about.modality in target.spaces().get(about.space, []):
        settle(folder)
        bank = open_bank(target, about.space, about.modality)
        removed = banks.removed.get(about.modality, np.empty(0, np.int64))
        if (start := first_to_fuse(bank, about, dim, dtype, removed)) is not None:
            ShardedArray(folder).verify()
            return bank_grower(bank, about, start=start, count=count) if start < count else None
    return bank_writer(folder, about, dim=dim, count=count, dtype=dtype, shard_rows=BLOCK_ROWS)


def _partial(
    space: FusedSpace, groups: Sequence[BankSet], modality: str
) -> dict[str, Integer[np.ndarray, " p"]]:
    """Return expert to the items that it lacks."""
    lacking: dict[str, list[np.ndarray]] = {}
    for group in groups:
        for name in space.spaces_of(modality):
            if (name, modality) not in group.banks:
                lacking.setdefault(name, []).append(group.rows[modality])
    return {name: np.sort(np.concatenate(rows)) for name, rows in lacking.items()}


def _fill(
    writer: ShardWriter,
    count: int,
    space: FusedSpace,
    groups: Sequence[BankSet],
    modality: str,
    precision: Precision,
    progress: Progress,
) -> None:
    """Write the rows of a modality that are not there yet."""
    for start in range(writer.first + writer.rows_done, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        block = np.zeros((stop - start, space.role_dim), np.float32)
        for group in groups:
            kept = group.rows[modality]
            first, last = np.searchsorted(kept, [start, stop]).tolist()
            if first < last:
                rows, here = sources(space, group, modality, slice(first, last)), kept[first:last]
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
        return space.fuse(modality, rows, precision, role="item")
    except FreeBindError as error:
        raise FreeBindError(
            f"{modality} cannot be fused",
            where=f"{len(numbers)} rows, which are items {numbers[0]} to {numbers[-1]}",
            got=error,
        ) from error


def is_fused(bank: Bank) -> bool:
    """Return whether ``write_fused`` wrote a bank, as its licence says."""
    return bank.encoder.licence.startswith(DERIVED)


def _derived_licence(banks: BankSet) -> str:
    """Return the licences of the sources: a derived embedding falls under all of them."""
    licences = dict.fromkeys(
        f"{bank.encoder.licence} ({space})" for (space, _), bank in banks.banks.items()
    )
    return DERIVED + ", ".join(licences)
