"""The hub correction of a run: of its space, and for fairness of everything it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fb_jax.banks import BankSet
from fb_jax.errors import notice_once
from fb_jax.evaluation.hubs import corrected, fit_hubs
from fb_jax.evaluation.models import source_rows
from fb_jax.evaluation.spaces import PlainRow, Row
from fb_jax.fusion import FusedSpace, HubCorrection

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


def _in_words(hubs: HubCorrection | None) -> str:
    """Return what was chosen, in words."""
    if hubs is None:
        return "no hub correction raises R@1 on the validation pairs"
    counts = ", ".join(f"{len(rows):,} {m}" for m, rows in hubs.references.items())
    return f"{hubs}, with references of the pool: {counts}"
