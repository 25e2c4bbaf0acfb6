"""Which modalities of a product have a router: asked for, or those where validation says it pays.

FOLDER/routers/MODALITY-DIGEST.npy     the numbers of a finished router, not trained again
FOLDER/routers/MODALITY-DIGEST.json    what it was trained on, the digest in its name
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fb_jax import files
from fb_jax.banks import BankSet
from fb_jax.errors import notice_once, unknown
from fb_jax.evaluation.models import compare, fused_rows, pair_tables
from fb_jax.fusion import FusedSpace
from fb_jax.projector import Router
from fb_jax.run.reporter import Reporter
from fb_jax.run.routing import RouterJob, partners, with_routers
from fb_jax.training.routing import Routing

AUTO = "auto"
Asked = Literal["auto"] | tuple[str, ...]
"""The modalities that get a router; auto: those where it pays."""


@dataclass(frozen=True)
class RouterChoice:
    """Whether the router of a modality is kept, as ``metrics.json`` records it.

    Attributes:
        kept: Whether the space has it.
        on: Name of the validation pairs; "" without any.
        before: Mean R@1 in percent on them, over the pairs with this modality, without it.
        after: The same with it.
    """

    kept: bool
    on: str = ""
    before: float | None = None
    after: float | None = None

    def __str__(self) -> str:
        word = "kept" if self.kept else "left out"
        return word if self.before is None else f"{word}: R@1 {self.before:.1f} to {self.after:.1f}"


def routable(space: FusedSpace) -> tuple[str, ...]:
    """Return the modalities that can have a router: weighted, and with a partner."""
    return tuple(m for m in space.weighted if partners(space, m))


def require_routable(space: FusedSpace, asked: Asked) -> None:
    """Raise a FreeBindError if a modality that is asked for cannot have a router."""
    for modality in () if asked == AUTO else asked:
        if modality not in (known := routable(space)):
            raise unknown("modality to route", modality, known, space.title)


def add_routers(
    space: FusedSpace,
    asked: Asked,
    pool: BankSet,
    val: tuple[str, BankSet | None],
    settings: Routing,
    folder: Path,
    reporter: Reporter,
) -> tuple[FusedSpace, dict[str, RouterChoice]]:
    """Return a space with routers, one after another, and what was chosen.

    Args:
        space: The space without routers, at factors.
        asked: See ``Asked``. What is named is kept whether it pays or not.
        pool: All native spaces over the pool.
        val: Name and banks of validation pairs; without any, auto keeps no router.
        settings: See ``Routing``.
        folder: Folder of the finished routers.
        reporter: Shows progress.
    """
    if asked == AUTO and val[1] is None:
        notice_once(f"{space.title}: no validation pairs, so no router is chosen")
        return space, {}
    choices = {}
    for modality in routable(space) if asked == AUTO else asked:
        router = _trained(RouterJob(space, modality, pool, settings), folder, reporter)
        routed = with_routers(space, {**space.last.routers, modality: router})
        choices[modality] = choice = _choice(space, routed, modality, val, asked != AUTO)
        notice_once(f"{space.title}: router of {modality} {choice}")
        space = routed if choice.kept else space
    return space, choices


def _trained(job: RouterJob, folder: Path, reporter: Reporter) -> Router:
    """Return a finished router, or train it."""
    about = files.json_types(job.identity())
    path = folder / f"{job.modality}-{files.sha256_of_json(about)[:12]}.npy"
    if path.exists():
        fix = "delete it: it is trained again; or choose another --out"
        numbers = files.read_recorded(path, "a router", about, fix)
        return Router.from_vector(job.spec, numbers)
    with reporter.task(f"router of {job.space.title}, {job.modality}", job.settings.steps) as done:
        done(0)  # the first number counts what was done before
        router = job.train(done)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_recorded(path, router.vector, about)
    return router


def _choice(
    plain: FusedSpace,
    routed: FusedSpace,
    modality: str,
    val: tuple[str, BankSet | None],
    named: bool,
) -> RouterChoice:
    name, banks = val
    if banks is None:
        return RouterChoice(kept=True)
    before, after = (mean_recall(space, modality, banks) for space in (plain, routed))
    return RouterChoice(named or after > before, name, before, after)


def mean_recall(space: FusedSpace, modality: str, banks: BankSet) -> float:
    """Return the mean R@1 in percent over the pairs of modalities that one is in; NaN of none."""
    tables = pair_tables(space.modalities, banks)
    asked = {pair: table for pair, table in tables.items() if modality in pair}
    found: Sequence[float] = [
        figures["R@1"] for figures in compare(fused_rows(space, banks), asked, ("R@1",)).values()
    ]
    return float(np.mean(found)) if found else float("nan")
