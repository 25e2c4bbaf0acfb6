"""Fusing again: which rows of a fused bank are still right when its sources have grown since."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from fb_jax.banks import Bank, BankAbout, first_row_of_shard


def first_to_fuse(
    bank: Bank, asked: BankAbout, dim: int, dtype: str, removed: Integer[np.ndarray, " r"]
) -> int | None:
    """Return the first row of a finished bank that must be fused now.

    A row stays right as long as the same spaces have its item: banks only grow. Rows of removed
    items stay, too, since nothing reads them.

    Args:
        bank: The fused bank.
        asked: What it shall be.
        dim: Columns that it shall have.
        dtype: How its rows shall be stored.
        removed: Rows of the items that were removed.

    Returns:
        The first row of its shard, or the number of rows if all of them are right; None if it is
        another bank, or has rows that are not asked for.
    """
    here = bank.encoder, bank.about.made_from, bank.shape[1], bank.manifest.dtype
    if here != (asked.encoder, asked.made_from, dim, dtype):
        return None
    experts = sorted({*asked.partial, *bank.partial})
    now, before = (_spaces(about, experts, len(bank)) for about in (asked, bank.about))
    changed = np.setdiff1d(np.flatnonzero(now != before), removed)
    if (now[changed] < 0).any():
        return None
    return first_row_of_shard(bank, int(changed[0])) if len(changed) else len(bank)


def _spaces(about: BankAbout, experts: Sequence[str], count: int) -> Integer[np.ndarray, " n"]:
    """Return a number for the experts that each of ``count`` rows lacks; -1 if it is missing."""
    lacking = np.zeros(count, np.int64)
    for i, expert in enumerate(experts):
        rows = np.asarray(about.partial.get(expert, []), np.int64)
        lacking[rows[rows < count]] += 1 << i
    lacking[about.missing[about.missing < count]] = -1
    return lacking
