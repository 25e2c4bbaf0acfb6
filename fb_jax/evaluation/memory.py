"""Memory that an evaluation needs: rows of one model at a time, and a block of scores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from fb_jax import files
from fb_jax.banks import BankSet
from fb_jax.errors import FreeBindError, require_range
from fb_jax.evaluation.classes import CLASS, prompt_table
from fb_jax.evaluation.ranks import SCORE_BYTES
from fb_jax.evaluation.spaces import Corrected, Row
from fb_jax.fusion import FusedSpace, uncut

LIMIT = 8 * 10**9
"""Bytes that an evaluation may take, beside the half gigabyte of Python and JAX."""

LEAST_BLOCK = 32 << 20
"""Least memory for a block of scores, and for what is read at once."""


def in_bytes(memory_gb: float) -> int:
    """Return a memory in bytes; raise a FreeBindError if it is out of range."""
    require_range("evaluation", 0.0, 1e6, memory_gb=memory_gb)
    return round(memory_gb * 1e9)


def bytes_for_rows(
    rows: Mapping[str, Row], banks: BankSet, pairs: Iterable[tuple[str, str]]
) -> int:
    """Return the bytes that the rows of the largest model of a split take.

    They are the rows of all modalities, one of them on the device too, and the parts of a fused
    space. Texts that are only prompts are read in blocks and do not count.
    """
    needed = dict.fromkeys(m for pair in pairs for m in pair)
    counts = {m: len(banks.rows[m]) for m in needed if m != CLASS}
    classes = int(prompt_table(banks)[:, 0].max()) + 1 if CLASS in needed else 0
    every, most = classes + sum(counts.values()), max([classes, *counts.values()])
    sizes = (
        every * dim + most * dim + sum(counts.values()) * parts
        for dim, parts in (_dims(row, banks) for row in rows.values())
    )
    return 4 * max(sizes, default=0)


def _dims(row: Row, banks: BankSet) -> tuple[int, int]:
    """Return the dimensions of a model's rows, and of the parts that they are computed from."""
    if isinstance(row, FusedSpace) and row.hubs is not None:
        row = Corrected(row.plain, row.hubs)
    if isinstance(row, Corrected):
        plain, parts = _dims(row.row, banks)
        return 2 * row.hubs.dim(plain), parts + plain  # both roles, and what they are made from
    if isinstance(row, FusedSpace):
        return row.dim, max(2 * row.dim, uncut(row).dim)
    names = [row] if isinstance(row, str) else row
    here = {name for name, _ in banks.banks}
    return sum(banks.dim(name) for name in names if name in here), 0


def block_bytes(
    rows: Mapping[str, Row],
    banks: BankSet,
    pairs: Collection[tuple[str, str]],
    limit: int = LIMIT,
    resamples: int = 0,
) -> int:
    """Return the memory for a block of scores, within the limit of an evaluation.

    A resample of labelled items is a byte for each: mAP holds them all.

    Raises:
        FreeBindError: The limit leaves too little for it.
    """
    labelled = max((len(banks.rows[media]) for media, other in pairs if other == CLASS), default=0)
    needed = bytes_for_rows(rows, banks, pairs) + resamples * labelled
    if needed + LEAST_BLOCK > limit:
        raise FreeBindError(
            "this evaluation needs more memory than it may take",
            where=banks.split.path,
            expected=f"{files.gigabytes(needed + LEAST_BLOCK)} for the rows of one model and a "
            "block of scores" + (f", with {resamples:,} resamples" if resamples * labelled else ""),
            got=files.gigabytes(limit),
            fix="raise --memory-gb" + (", or lower --resamples" if resamples * labelled else ""),
        )
    return min(SCORE_BYTES, limit - needed)
