"""A fused space over banks: what can be fused from them, and the rows and parts to fuse."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from fb_jax.banks import Bank, BankSet
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.stage import Parts
from fb_jax.numerics import Precision


def fusable(space: FusedSpace, banks: BankSet) -> tuple[str, ...]:
    """Return the modalities for which the banks have every native space that they are fused from.

    The space may be planned: its bonds need no numbers.
    """
    return tuple(
        m
        for m in dict.fromkeys(m for _, m in banks.banks)
        if m in space.modalities and all((s, m) in banks.banks for s in space.spaces_of(m))
    )


def sources(
    space: FusedSpace, banks: BankSet, modality: str, rows: slice = slice(None)
) -> dict[str, Float32[np.ndarray, "n _"]]:
    """Return the rows of a modality in the native spaces of the banks that it is fused from."""
    here = [name for name in space.spaces_of(modality) if (name, modality) in banks.banks]
    return {name: banks[name, modality][rows] for name in here}


def by_spaces(space: FusedSpace, banks: BankSet, modality: str) -> list[BankSet]:
    """Split the items of a modality by the spaces that have them.

    Items that the first space in ``spaces_of(modality)`` lacks are left out.

    Returns:
        The banks of the modality for each set of spaces, restricted to the items that exactly these
        spaces have, also where ``banks`` is restricted to those that all have.
    """
    here = [banks[name, modality] for name in space.spaces_of(modality)]
    rows = [banks.present(bank.space, modality) for bank in here]
    every = np.arange(1 + max(present.max(initial=-1) for present in rows))  # some lack the newest
    has = np.stack([np.isin(every, present) for present in rows])
    sets = np.where(has[0], (1 << np.arange(len(here))) @ has, 0)  # a bit for each space
    return [
        _restricted([bank for i, bank in enumerate(here) if number >> i & 1], banks, sets == number)
        for number in np.unique(sets[has[0]]).tolist()
    ]


def _restricted(some: list[Bank], banks: BankSet, kept: np.ndarray) -> BankSet:
    rows = np.flatnonzero(kept)
    restricted = {(bank.space, bank.modality): bank.restrict(rows) for bank in some}
    return BankSet(banks.split, restricted, {some[0].modality: rows}, banks.removed)


def parts_of(
    space: FusedSpace, banks: BankSet, precision: Precision = "float32"
) -> dict[str, Parts]:
    """Return the last stage's parts of every modality that can be fused from the banks."""
    return {m: space.parts(m, sources(space, banks, m), precision) for m in fusable(space, banks)}


def licences_of(space: FusedSpace, banks: BankSet) -> dict[str, str]:
    """Return native space to the licence that its banks record, where it is known."""
    recorded = {name: bank.encoder.licence for (name, _), bank in banks.banks.items()}
    return {s: recorded[s] for s in space.spaces if recorded.get(s, "unknown") != "unknown"}
