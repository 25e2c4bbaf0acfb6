"""What happened to banks, pair tables and items since somebody recorded their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from fb_jax.banks.bankset import BankSet, removed_key
from fb_jax.banks.manifest import Earlier
from fb_jax.banks.split import Split


def since(recorded: Mapping[str, str], banks: BankSet) -> tuple[list[str], list[str]]:
    """Compare the fingerprints of a split, as they were recorded, with its banks now.

    Args:
        recorded: Some of ``BankSet.fingerprints`` and ``BankSet.pair_fingerprints``.
        banks: The banks now.

    Returns:
        A text for each bank, table or list that has only grown, lost items or got missing rows
        since, which says what was there then; and the names of those that have changed otherwise,
        or are gone.
    """
    here = banks.fingerprints() | banks.pair_fingerprints()
    removed = [name for m in banks.removed if (name := removed_key(m)) not in recorded]
    grown, changed = [], []
    for name in [*recorded, *(removed if recorded else [])]:
        if recorded.get(name) == here.get(name):
            continue
        if name in here and (then := _then(banks, name, recorded.get(name))) is not None:
            grown.append(then)
        else:
            changed.append(name)
    return grown, changed


def _then(banks: BankSet, name: str, digest: str | None) -> str | None:
    """Return what there was of a bank, table or list at a digest, if it is a known one."""
    for modality in banks.removed:
        if name == removed_key(modality):
            return _removed_since(banks, modality, digest)
    owner, _, rest = name.partition("/")
    if digest is None or not isinstance(banks.split, Split):
        return None
    if owner == "pairs":
        left, right = rest.split("-")
        count = banks.split.pairs_at(left, right, digest)
        return None if count is None else f"the first {count} of {name}, which has more now"
    states = banks[owner, rest].earlier
    known = [number for number, state in enumerate(states) if state.fingerprint == digest]
    return _rows_then(name, states[known[0] :], len(banks[owner, rest].array)) if known else None


def _rows_then(name: str, states: Sequence[Earlier], now: int) -> str:
    """Return what there was of a bank, whose states are that one and those since."""
    count, kept = states[0].count, min(state.kept for state in states)
    text = f"all {now} rows of {name}"
    if count < now:
        text = f"the first {count} rows of {name}, which has {now} now"
    if kept < count:
        text += f", written again from row {kept} on"
    if filled := sum(state.filled for state in states):
        text += f", without {filled} that were missing and have come since"
    return text


def _removed_since(banks: BankSet, modality: str, digest: str | None) -> str | None:
    """Return how many items were removed since the removed rows had a digest; None: never had."""
    rows = banks.removed[modality].astype("<i8")
    hashed = hashlib.sha256()
    for before, row in enumerate(rows):
        if digest is None or hashed.hexdigest() == digest:
            return f"{len(rows) - before} {modality} items that were removed since"
        hashed.update(row.tobytes())
    return None
