"""Changing models: rows of an old encoder become rows of a new one, without embedding again.

A migration is a displacement bond (Eq. 3, 7) from the old space to the new one, fused at the factor
1: an item has its new row where it was embedded again, and its projected old row where not. What it
minimises is ours [O], since new and projected rows end up in one gallery: InfoNCE brings them into
the right order, but leaves open how high their scores are (docs/migrating.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fb_jax.banks import (
    Bank,
    BankSet,
    Progress,
    Split,
    no_progress,
    open_bank,
    open_banks,
    open_split,
    splits,
)
from fb_jax.banks.bankset import NothingShared
from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond, BondSpec, End, linear_members
from fb_jax.run.bond import prepare
from fb_jax.run.bond import train as train_run
from fb_jax.run.options import RunConfig
from fb_jax.run.reporter import Reporter
from fb_jax.training import Training

Kind = Literal["bond", "linear"]
"""What projects: a displacement bond, or one linear map."""

RIDGE = 0.1
"""Weight of the ridge, relative to the mean eigenvalue of uncentred unit rows, chosen on the word
world's validation split (docs/migrating.md)."""

BLOCK_ROWS = 16384

TRAINING = Training(loss="own_rows", epochs=20)
"""Default settings, chosen on the word world's validation split (docs/migrating.md)."""


class NoRows:
    """Rows that do not exist: those of the new model where nothing was embedded again.

    Args:
        items: Number of items.
        dim: Dimension of the space.
    """

    fingerprint = "no rows"

    def __init__(self, items: int, dim: int) -> None:
        self.shape = items, dim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return zeros, which stand for a missing row."""
        return np.zeros((len(range(*rows.indices(len(self)))), self.shape[1]), np.float32)

    def verified(self, progress: Progress = no_progress) -> Iterator[tuple[int, np.ndarray]]:
        """Yield nothing: there are no bytes to compare."""
        del progress
        yield from ()


class Ends(NamedTuple):
    """The two spaces of a migration, by name."""

    old: str
    new: str


def train_migration(config: RunConfig, reporter: Reporter) -> Bond:
    """Train the displacement from the old space, ``config.unified``, to the new one.

    It runs as any bond does: checked first, continued after an interruption, in ``config.folder``.
    """
    return train_run(prepare(config, reporter), reporter)


def linear_migration(pool: BankSet, ends: Ends) -> Bond:
    """Return the ridge regression from old to new rows of the pool's items, as a bond.

    One map serves all modalities, as a projector does. It is one, so that whatever takes a bond
    takes it: fused spaces, banks, ONNX.

    Args:
        pool: Both spaces over the items that both have; the modalities need not be paired.
        ends: The spaces.

    Raises:
        FreeBindError: They share no modality.
    """
    kernel, shift = _ridge(pool, ends)
    old, new = (End(name, pool.modalities(name), pool.dim(name)) for name in ends)
    spec = BondSpec.between("displacement", old, new, hidden=2 * len(kernel))
    members = linear_members(kernel[None], shift[None])
    return Bond(replace(spec, members=(spec.modalities,)), members)


def _ridge(pool: BankSet, ends: Ends) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel ``[d, d_new]`` and the shift ``[d_new]``, in float64 and by blocks."""
    dims, count = (pool.dim(ends.old), pool.dim(ends.new)), 0
    sums = [np.zeros(dim) for dim in dims]
    products = np.zeros((dims[0], sum(dims)))
    for modality in shared_modalities(pool, ends):
        old, new = (pool[name, modality] for name in ends)
        for start in range(0, len(old), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            x, y = (np.asarray(bank[part], np.float64) for bank in (old, new))
            sums, count = [sums[0] + x.sum(0), sums[1] + y.sum(0)], count + len(x)
            products += x.T @ np.hstack([x, y])
    means = [total / count for total in sums]
    centred = products - count * np.outer(means[0], np.concatenate(means))
    square, cross = np.split(centred, [dims[0]], axis=1)
    kernel = np.linalg.solve(square + RIDGE * count / dims[0] * np.eye(dims[0]), cross)
    return kernel, means[1] - means[0] @ kernel


def shared_modalities(banks: BankSet, ends: Ends) -> tuple[str, ...]:
    """Return the modalities of both spaces.

    Raises:
        FreeBindError: There is none.
    """
    old, new = map(banks.modalities, ends)
    if not (both := tuple(m for m in old if m in new)):
        raise FreeBindError(
            "nothing to learn a migration from: no modality has rows of both models",
            where=banks.split.path,
            expected="some items that were embedded again",
            got=f"{ends.old}: {', '.join(old)}; {ends.new}: {', '.join(new)}",
        )
    return both


def migrated_space(bond: Bond) -> FusedSpace:
    """Return NEW_from_OLD: the space of new rows, and of projected old rows where there are none.

    Args:
        bond: A displacement from the old space to the new one.
    """
    if bond.kind != "displacement":
        raise unknown("bond of a migration", bond.kind, ["displacement"])
    factors = dict.fromkeys(bond.weighted, 1.0)
    return FusedSpace.of(bond, at=factors, name=f"{bond.expert}_from_{bond.unified}")


def measured_splits(root: Path, pool: str, ends: Ends) -> dict[str, BankSet]:
    """Return the splits but the pool that have items with rows of both models, with their banks."""
    found = {}
    for name in (name for name in splits(root) if name != pool):
        if set(ends) <= set(open_split(root, name).spaces()):
            with suppress(NothingShared):
                banks = open_banks(root, name, spaces=ends)
                shared_modalities(banks, ends)
                found[name] = banks
    return found


def banks_to_migrate(split: Split, pool: BankSet, ends: Ends) -> BankSet:
    """Return the banks of a split, over all its items; those of the new model may be missing.

    Args:
        split: With rows of the old model.
        pool: Both spaces, as the migration was trained.
        ends: The spaces.

    Raises:
        FreeBindError: The split has no rows of the old model, or banks are damaged.
    """
    known, new = split.spaces(), ends.new
    if ends.old not in known:
        raise unknown("space", ends.old, known, split.path)
    having = [(name, m) for name in ends for m in known.get(name, [])]
    banks = {key: open_bank(split, *key) for key in having}
    for (_, modality), bank in list(banks.items()):
        if (new, modality) in pool.banks and (new, modality) not in banks:
            about = replace(pool[new, modality].about, items_sha256=bank.items_sha256)
            nothing = NoRows(len(bank), pool.dim(new))
            banks[new, modality] = Bank(nothing, replace(about, missing=np.arange(len(bank))))
    for key in having:
        banks[key].verify()
    lists = {m: split.items(m) for _, m in banks}
    removed = {m: items.removed for m, items in lists.items() if len(items.removed)}
    return BankSet(split, banks, {m: np.arange(len(x)) for m, x in lists.items()}, removed)
