"""Results of a fused space on evaluation splits: chosen factors, figures, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fb_jax.banks import BankSet, open_banks
from fb_jax.errors import notice_once
from fb_jax.evaluation import RECALLS, Results, evaluate, plot_queries, plot_sweep
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.queries import changed_queries
from fb_jax.evaluation.spaces import Row
from fb_jax.evaluation.surfaces.choosing import Aim
from fb_jax.fusion import Factors, FusedSpace, cut, with_basis
from fb_jax.fusion.card import own_row
from fb_jax.fusion.factors import CHOSEN, as_text
from fb_jax.fusion.hub_files import PATTERN
from fb_jax.run.choosing import NONE, Choosing, Chosen, Sets, choose_on, parted, require_built_on
from fb_jax.run.hubs import OFF, hub_corrected
from fb_jax.run.metrics import write_metrics
from fb_jax.run.reporter import Reporter
from fb_jax.run.routing_choice import RouterChoice

SWEEP, QUERIES = "sweep.png", "queries.png"


def points_for(space: FusedSpace) -> dict[str, Factors]:
    """Return the factors that a space is evaluated at: the presets, and its own."""
    points = space.presets
    known = space.factors in points.values()
    return points if known else points | {space.title: space.factors}


Route = Callable[
    [FusedSpace, tuple[str, BankSet | None]], tuple[FusedSpace, Mapping[str, RouterChoice]]
]
"""Adds routers to a space, kept where the named validation pairs say so, and says which."""


@dataclass(frozen=True)
class Report:
    """Results of a space.

    Attributes:
        space: The space, at the factors that were chosen, if any were.
        results: Set of pairs to results: validation first, test last.
        chosen: How they were chosen.
    """

    space: FusedSpace
    results: dict[str, Results]
    chosen: Chosen | None = None

    @property
    def kept(self) -> str:
        """The row of the space in the results."""
        return own_row(self.space, points_for(self.space))


def report_space(
    space: FusedSpace,
    evaluation: Mapping[str, BankSet],
    folder: Path,
    reporter: Reporter,
    metrics: Sequence[str] = RECALLS,
    how: Choosing = Choosing(),  # noqa: B008  (frozen)
    pool: Callable[[], BankSet] | None = None,
    route: Route | None = None,
) -> Report:
    """Choose factors on validation, evaluate on every split; write ``metrics.json`` and a picture.

    Routers are trained at the chosen factors, and hub correction comes last: each fits the space
    as it is by then.

    Args:
        space: The fused space.
        evaluation: Split to banks with pairs.
        folder: Where to write ``metrics.json`` and ``sweep.png``.
        reporter: Shows progress.
        metrics: Names of metrics.
        how: How to choose. Without validation pairs the space keeps its factors, with a notice.
        pool: Opens all native spaces over the pool, for a hub correction.
        route: Adds routers.
    """
    sets, known = parted(evaluation, how)
    val = sets[known.on] if known else None
    points, chosen, swept = points_for(space), None, None
    if known and how.aim != NONE:
        with reporter.task(f"factors of {space.title}", 0) as advance:
            chosen, swept = choose_on(space, known, sets[known.on], Aim.parse(how.aim), advance)
        space = space.choosing(chosen.factors)
        points = {CHOSEN: chosen.factors, **points}
    elif sets:
        _tell_preset(space, how, sets)
    require_built_on(space, how)
    routers: Mapping[str, RouterChoice] = {}
    if route is not None:
        space, routers = route(space, (known.on if known else "", val))
    beside: Mapping[str, Row] = {}
    if how.hubs is None and any(folder.glob(PATTERN)):
        text = "the hub correction that was here is left out; --hubs chosen keeps it"
        notice_once(f"{space.title}: {text}")
    if how.hubs not in (None, OFF) and pool is not None:
        with reporter.task(f"hub correction of {space.title}", 0):
            space, beside = hub_corrected(space, pool, val)
    results = _evaluated(space, sets, points, reporter, metrics, beside)
    write_metrics(folder, space, results, chosen or known, routers)
    _remove_pictures(folder)
    if swept is not None and chosen is not None:
        plot_sweep(swept, points, f"{space.title}, {chosen.on}", folder / SWEEP)
    if sets:
        _plot_changes(space, *list(sets.items())[-1], results, folder / QUERIES)
    return Report(space, results, chosen)


def _evaluated(
    space: FusedSpace,
    sets: Sets,
    points: Mapping[str, Factors],
    reporter: Reporter,
    metrics: Sequence[str],
    beside: Mapping[str, Row],
) -> dict[str, Results]:
    results = {}
    with reporter.task(f"evaluation of {space.title}", len(sets)) as advance:
        advance(0)
        for name, banks in sets.items():
            results[name] = evaluate(space, banks, points, metrics, beside=beside)
            advance(1)
    return results


def _remove_pictures(folder: Path) -> None:
    """Remove pictures of earlier results, which need not be drawn again."""
    for name in (SWEEP, QUERIES):
        (folder / name).unlink(missing_ok=True)


def _plot_changes(
    space: FusedSpace, name: str, banks: BankSet, results: Mapping[str, Results], path: Path
) -> None:
    """Draw some queries of the pair of modalities that gains most on the last set."""
    fused = own_row(space, points_for(space))
    before, after = results[name]["unified"], results[name][fused]
    gains = {
        pair: after[pair].get("R@1", 0.0) - before[pair].get("R@1", 0.0)
        for pair in after
        if pair in before and not pair.endswith(f"-{CLASS}")
    }
    pair = max(gains, key=gains.__getitem__, default="")
    left, _, right = pair.partition("-")
    if pair and (changed := changed_queries(space, banks, left, right)):
        title = f"{left} to {right}: {len(changed)} queries of {name}, drawn at random"
        plot_queries(changed, title, path)


def _tell_preset(space: FusedSpace, how: Choosing, sets: Sets) -> None:
    if how.aim == NONE:
        return
    part = "--val-fraction 0.3 chooses them on a part of the pairs"
    named = f"--val chooses them on {', or '.join(sets)}"
    notice_once(
        f"{space.title}: no split {how.val} with pairs, so its factors ({as_text(space.factors)}) "
        f"are not chosen for your data; {part if len(sets) == 1 else named}"
    )


def cut_once(
    space: FusedSpace, dim: int, kept: np.ndarray | None, root: Path, pool: str
) -> FusedSpace:
    """Cut a direct sum to the basis that is kept, or fit one on the pool.

    Another machine's bits would give other rows, so that a basis is fitted only once.
    """
    if kept is not None and kept.shape[1] == dim:
        return with_basis(space, kept)
    return cut(space, dim, open_banks(root, pool, spaces=space.spaces))
