"""Spaces with routers over several bank roots: for the benchmarks of routers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.recalls import change, hits
from fb_jax.banks import BankSet, open_banks
from fb_jax.fusion import FusedSpace
from fb_jax.run.routing import RouterJob, with_routers
from fb_jax.training.routing import Routing

OMNIBIND = Routing(shape="omnibind")
SPACES = {"imagebind_sum": "equal", "imagebind_pp": "versatile", "internvl_ib_pp": "versatile"}
"""Product to preset; others are at their own factors."""
KINDS = ("plain", "hub-corrected")

Both = np.ndarray
"""``[2, pairs, n]``: hits by item, plain and hub-corrected."""


@dataclass(frozen=True)
class World:
    """A bank root and its folder of runs."""

    root: Path
    runs: Path

    @cache  # noqa: B019
    def space(self, name: str, at: str | None = None) -> FusedSpace:
        """Return a product without routers and hub correction; ``at`` is a preset, "" its own."""
        folder = self.runs / "apart" if name == "omnibind" else self.runs
        space = with_routers(FusedSpace.load(folder / name / "space").plain, {})
        at = SPACES.get(name, "") if at is None else at
        return space.at(at) if at else space

    def banks(self, space: FusedSpace, split: str) -> BankSet:
        return open_banks(self.root, split, spaces=space.spaces)

    @cache  # noqa: B019
    def routed(
        self, name: str, modality: str, settings: Routing, others: tuple[str, ...] | None = None
    ) -> FusedSpace:
        """Return a product with a router; ``others`` are the modalities of its pairs."""
        space = self.space(name)
        job = RouterJob(space, modality, self.banks(space, "pool"), settings, others)
        return with_routers(space, {modality: job.train()})

    @cache  # noqa: B019
    def both(self, space: FusedSpace) -> Both:
        val, pool = (self.banks(space, split) for split in ("val", "pool"))
        return np.stack([hits(space, val), hits(space, val, pool)])


def both_kinds(before: Sequence[Both], after: Sequence[Both], pair: int) -> Iterator[str]:
    """Yield R@1 before and after, and the difference: plain, then hub-corrected."""
    for kind in range(len(KINDS)):
        sides = [[one[kind, pair] for one in side] for side in (before, after)]
        yield " → ".join(f"{np.mean(side):.1f}" for side in sides) + f", {change(*sides)}"
