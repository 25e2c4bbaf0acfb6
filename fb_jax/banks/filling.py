"""Rows that a finished bank lacked, and that are there now."""

from __future__ import annotations

import dataclasses
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from fb_jax import files
from fb_jax.banks.bank import Bank
from fb_jax.banks.directions import find_bad_rows, refuse_bad_rows
from fb_jax.banks.manifest import MANIFEST, Earlier, Manifest, Shard
from fb_jax.banks.shard_names import next_name, remove_strays
from fb_jax.banks.shards import ShardedArray
from fb_jax.errors import FreeBindError


def fill_rows(
    bank: Bank, rows: Integer[np.ndarray, " r"], values: Float[np.ndarray, "r d"]
) -> Bank:
    """Write rows that were missing from a finished bank. Afterwards all of them are there, or none.

    Their shards are written again as new files, and the manifest is replaced. Whoever has opened
    the bank goes on with the old shards. The bank may have grown, or other rows of it may have been
    filled, since it was opened.

    Args:
        bank: A bank on disk.
        rows: Numbers of missing rows, each once.
        values: Their embeddings, of any norm.

    Returns:
        The bank as it is now.

    Raises:
        FreeBindError: A row is not missing, an embedding is NaN, infinite or zero in the dtype of
            the bank, a shard was altered, or the bank is another one by now.
    """
    folder, order = Path(bank.folder), np.argsort(rows)
    rows, values = rows[order], _stored(bank, values[order])
    with files.locked(folder, wait=True, name=".opening") as held:
        here = Bank.open(folder)
        _require_missing(bank, here, rows)
        if held:  # else they may be those of another process
            remove_strays(folder, here.manifest)
        if len(rows):
            files.write_json(folder / MANIFEST, _filled(here, rows, values).to_json())
        now = Bank.open(folder)
        for shard in {*here.manifest.shards} - {*now.manifest.shards}:
            (folder / shard.file).unlink(missing_ok=True)
    return now


def _stored(bank: Bank, values: Float[np.ndarray, "r d"]) -> np.ndarray:
    """Return rows in the dtype of a bank."""
    if values.shape[1] != bank.manifest.dim:
        raise FreeBindError(
            "these rows do not fit the bank",
            where=bank.folder,
            expected=f"{bank.manifest.dim} columns",
            got=f"{values.shape[1]} columns",
        )
    with np.errstate(over="ignore"):
        stored = np.asarray(values, bank.manifest.dtype)
    what, fix = "what is filled in", "leave these rows missing"
    refuse_bad_rows(what, bank.folder, find_bad_rows(stored), fix)
    return stored


def _require_missing(bank: Bank, here: Bank, rows: np.ndarray) -> None:
    """Raise a FreeBindError unless the bank on disk is the one that was opened and lacks rows."""
    if bank.fingerprint not in {here.fingerprint, *(state.fingerprint for state in here.earlier)}:
        again = "run the same command again: it looks at the bank as it is now"
        raise FreeBindError("another process has replaced this bank", where=here.folder, fix=again)
    there = rows[~np.isin(rows, here.missing) | np.append(np.diff(rows) == 0, False)]
    if len(there):
        raise FreeBindError(
            "only missing rows can be filled in, each once",
            where=here.folder,
            got=f"{len(there)} other rows, the first is row {there[0]}",
        )


def _filled(bank: Bank, rows: np.ndarray, values: np.ndarray) -> Manifest:
    """Write the shards of rows again under other names; return the manifest with them."""
    assert isinstance(bank.array, ShardedArray)
    shards, was = list(bank.manifest.shards), bank.manifest
    starts = np.array([*accumulate((shard.rows for shard in shards), initial=0)])
    for number in np.unique(np.searchsorted(starts, rows, side="right") - 1).tolist():
        mine = (rows >= starts[number]) & (rows < starts[number + 1])
        block = np.array(bank.array.whole_shard(number))
        block[rows[mine] - starts[number]] = values[mine]
        shards[number] = _written(bank.array.folder, shards[number], block)
    then = Earlier(was.count, was.count, was.fingerprint, bank.items_sha256, len(rows))
    about = was.about | {
        "missing": np.setdiff1d(bank.missing, rows).tolist(),
        "earlier": [dataclasses.asdict(state) for state in (*bank.earlier, then)],
    }
    return dataclasses.replace(was, about=about, shards=tuple(shards))


def _written(folder: Path, shard: Shard, block: np.ndarray) -> Shard:
    path = folder / next_name(shard.file)
    files.write_npy(path, block)
    return Shard(path.name, shard.rows, files.sha256_of(path))
