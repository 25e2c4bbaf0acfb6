"""All measures of some spaces over one split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, permutations
from typing import Any, TypeVar

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.evaluation.diagnosis.geometry import cka, gap
from fb_jax.evaluation.diagnosis.neighbours import between, hubness, overlap, round_trips, within
from fb_jax.evaluation.diagnosis.prediction import agreement, carried, expected_gain, news
from fb_jax.evaluation.diagnosis.report import Diagnosis, Likeness, Link
from fb_jax.evaluation.diagnosis.sample import ByModality, Sampling, sample
from fb_jax.evaluation.diagnosis.sharpness import sharpness
from fb_jax.evaluation.models import fused_rows
from fb_jax.fusion import PRESETS, FusedSpace
from fb_jax.fusion.factors import fitting
from fb_jax.numerics import single_precision
from fb_jax.pseudo import PairSpec, Retrieval

Measured = TypeVar("Measured")


@single_precision()
def diagnose(
    banks: BankSet,
    unified: str,
    experts: Sequence[str],
    fused: FusedSpace | None = None,
    sampling: Sampling | None = None,
    retrieval: Retrieval | None = None,
    progress: Progress = no_progress,
) -> Diagnosis:
    """Measure spaces before or after a bond, without pairs.

    Args:
        banks: All native spaces over a split, usually the pool.
        unified: Name of the unified space.
        experts: Names of the experts; each shares a modality with the unified space.
        fused: Also measure this fused space: after a bond.
        sampling: How many items are measured.
        retrieval: Settings of the soft retrieval.
        progress: Called with 1 after each of ``steps(experts, fused)`` parts.

    Raises:
        FreeBindError: A space is no expert of the unified one.
    """
    sampling, retrieval = sampling or Sampling(), retrieval or Retrieval()
    specs = {expert: PairSpec(banks, unified, expert, retrieval) for expert in experts}
    for spec in specs.values():
        assert spec.plan  # raises before long work
    some = sample(banks, sampling)
    rows: dict[str, ByModality] = {
        space: {m: some[space, m][:] for m in some.modalities(space)}
        for space in (unified, *experts)
    }
    if fused is not None:
        rows[fused.title] = fused_rows(fused, some)
    k, couples = sampling.neighbours, list(combinations(rows, 2))
    counted = partial(_counted, progress)
    shares = {e: counted(carried, some, unified, e, sampling) for e in experts}
    return Diagnosis(
        split=str(banks.split.path),
        sampling=sampling,
        spaces=tuple(rows),
        items={modality: len(kept) for modality, kept in some.rows.items()},
        hops={e: counted(sharpness, spec, sampling) for e, spec in specs.items()},
        links={space: counted(links, own, k) for space, own in rows.items()},
        hubs={space: counted(hubs, own, k) for space, own in rows.items()},
        likeness={f"{a}, {b}": counted(likeness, rows[a], rows[b], k) for a, b in couples},
        retrieval={f"{a}, {b}": counted(retrieved, rows[a], rows[b], k) for a, b in couples},
        carried=shares,
        expected={
            e: expected_gain(
                shares[e], news(rows[unified], rows[e], k), fitting(PRESETS, list(shares[e]))
            )
            for e in experts
        },
    )


def steps(experts: int, fused: bool) -> int:
    """Return how many parts a diagnosis has."""
    spaces = 1 + experts + fused
    return 2 * experts + 2 * spaces + spaces * (spaces - 1)


def _counted(progress: Progress, measure: Callable[..., Measured], *args: Any) -> Measured:
    found = measure(*args)
    progress(1)
    return found


def links(rows: ByModality, k: int) -> dict[str, Link]:
    """Return how a space links every pair of its modalities."""
    found = {}
    for left, right in combinations(sorted(rows), 2):
        both = (rows[left], rows[right]), (rows[right], rows[left])
        forth, back = (hubness(between(a, b, k), len(b)) for a, b in both)
        found[f"{left}-{right}"] = Link(round_trips(*both[0]), gap(*both[0]), (forth, back))
    return found


def hubs(rows: ByModality, k: int) -> dict[str, float]:
    """Return the hubness within every modality of a space."""
    return {modality: hubness(within(own, k), len(own)) for modality, own in rows.items()}


def likeness(first: ByModality, second: ByModality, k: int) -> dict[str, Likeness]:
    """Return how two spaces agree on the same items of every modality that both have."""
    found = {}
    for modality in (m for m in first if m in second):
        x, y = first[modality], second[modality]
        near = overlap(within(x, k), within(y, k))
        found[modality] = Likeness(float(near.mean()), cka(x, y))
    return found


def retrieved(first: ByModality, second: ByModality, k: int) -> dict[str, float]:
    """Return how two spaces agree on retrieval between modalities that both have."""
    shared = [m for m in first if m in second]
    return {f"{m}->{n}": agreement(first, second, m, n, k) for m, n in permutations(shared, 2)}
