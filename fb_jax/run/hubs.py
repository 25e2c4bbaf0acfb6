"""The hub correction of a run: of its space, and for fairness of everything it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fb_jax.banks import BankSet
from fb_jax.errors import notice_once
from fb_jax.evaluation.hubs import corrected, fit_hubs
from fb_jax.evaluation.models import source_rows
from fb_jax.evaluation.spaces import PlainRow, Row
from fb_jax.fusion import FusedSpace, HubCorrection
from fb_jax.run.choosing import VAL, Validation, as_chosen
from fb_jax.run.splits import complete_splits

OFF = "off"


def hub_corrected(
    space: FusedSpace, pool: Callable[[], BankSet], val: BankSet | None
) -> tuple[FusedSpace, dict[str, Row]]:
    """Choose the hub correction of a space, and those of its sources and of the mean of scores.

    Args:
        space: The space at its factors.
        pool: Opens all its native spaces over the pool.
        val: They over validation pairs. None: no correction, with a notice.

    Returns:
        The space with the correction, if one pays; and the corrected sources, for tables.
    """
    if val is None:
        notice_once(f"{space.title}: no validation pairs, so no hub correction is chosen")
        return space, {}
    rows: Mapping[str, PlainRow] = {**source_rows(space), space.title: space.plain}
    hubs = fit_hubs(rows, pool(), val)
    own = hubs.pop(space.title, None)
    notice_once(f"{space.title}: {_in_words(own)}")
    return replace(space, hubs=own), {**corrected(rows, hubs)}


def corrected_sources(
    space: FusedSpace,
    root: Path,
    pool: str,
    known: Validation | None,
    opened: Callable[[str], BankSet],
) -> dict[str, Row]:
    """Return what a hub-corrected space is compared with, corrected as it is, for its tables.

    A notice says so if the bank root lacks the pool or the validation pairs that this needs.

    Args:
        space: The space.
        root: Bank root.
        pool: Name of the split that has the references.
        known: The validation pairs of the space; None: the split ``VAL``.
        opened: Opens all native spaces over a split of the root.
    """
    if space.hubs is None:
        return {}
    known = known or Validation(VAL)
    split, here = known.split or known.on, complete_splits(space, root)
    sets = as_chosen({split: opened(split)}, known) if split in here else {}
    if pool not in here or known.on not in sets:
        lacking = f"no {pool}, or no {known.on} as it was when the correction was chosen"
        notice_once(f"{root}: {lacking}: only {space.title} is hub-corrected here")
        return {}
    rows = source_rows(space)
    return {**corrected(rows, fit_hubs(rows, opened(pool), sets[known.on]))}


def _in_words(hubs: HubCorrection | None) -> str:
    """Return what was chosen, in words."""
    if hubs is None:
        return "no hub correction raises R@1 on the validation pairs"
    counts = ", ".join(f"{len(rows):,} {m}" for m, rows in hubs.references.items())
    return f"{hubs}, with references of the pool: {counts}"
