"""The splits of a bank root that a fused space can be evaluated on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fb_jax.banks import POOL, BankSet, open_banks, open_split, splits
from fb_jax.banks.bankset import NothingShared
from fb_jax.evaluation.models import can_evaluate
from fb_jax.fusion import FusedSpace


def complete_splits(space: FusedSpace, root: Path) -> list[str]:
    """Return the splits of a root that have all native spaces."""
    wanted = set(space.spaces)
    return [name for name in splits(root) if wanted <= set(open_split(root, name).spaces())]


def evaluation_banks(space: FusedSpace, root: Path, pool: str = POOL) -> dict[str, BankSet]:
    """Return the banks of the splits of a root that a fused space can be evaluated on."""
    found: dict[str, BankSet] = {}
    for name in complete_splits(space, root):
        if name != pool:
            with suppress(NothingShared):
                found[name] = open_banks(root, name, spaces=space.spaces)
    return {name: banks for name, banks in found.items() if can_evaluate(space, banks)}
