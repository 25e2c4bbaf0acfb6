"""Surfaces of several splits, their means over the splits of a kind of task, and their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.models import sources_and_baseline, tables_for
from fb_jax.evaluation.surfaces.headline import headline
from fb_jax.evaluation.surfaces.sweep import Sweep, pair_of, sweep
from fb_jax.fusion import FusedSpace

T = TypeVar("T")

Levels = dict[str, dict[str, float]]
"""Task to source (a native space, an earlier stage, ``mean_of_scores``) to its score in percent.
A source that lacks a modality of the task is left out."""


def sweep_sets(
    space: FusedSpace,
    sets: Mapping[str, BankSet],
    grid: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> Sweep:
    """Evaluate every task of several splits at every pair of factors.

    Args:
        space: The fused space.
        sets: Name of a split to the banks of its native spaces there.
        grid: Values of a factor, 0 to 1; None: see ``grid_for``.
        progress: Called with the number of tasks just done.

    Returns:
        One sweep, whose tasks have the names of their splits in front: ``audiocaps audio-text``.

    Raises:
        FreeBindError: There is no split, or one has nothing to evaluate.
    """
    if not sets:
        raise FreeBindError("nothing to sweep", expected="a split with pairs or labels", got="none")
    sweeps = {name: sweep(space, banks, grid, progress) for name, banks in sets.items()}
    return replace(
        next(iter(sweeps.values())),
        surfaces=_together({name: swept.surfaces for name, swept in sweeps.items()}),
        unified=_together({name: swept.unified for name, swept in sweeps.items()}),
        metrics=_together({name: swept.metrics for name, swept in sweeps.items()}),
    )


def _together(by_split: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    """Return the entries of all splits, with the name of the split, if any, in front."""
    return {
        f"{name} {task}".strip(): value
        for name, entries in by_split.items()
        for task, value in entries.items()
    }


def levels_of(space: FusedSpace, sets: Mapping[str, BankSet]) -> Levels:
    """Return the scores of the spaces that a fused space was made from, and of their mean.

    Args:
        space: The fused space.
        sets: See ``sweep_sets``, whose names of tasks the result has. A split named "" has the
            names of ``sweep``.
    """
    return _together({name: _levels(space, banks) for name, banks in sets.items()})


def _levels(space: FusedSpace, banks: BankSet) -> Levels:
    sources = sources_and_baseline(space, banks)
    sources = {space.spaces[0]: sources.pop("unified"), **sources}
    return {
        "-".join(pair): {
            source: headline(model, pair, table, banks)
            for source, model in sources.items()
            if {*pair} <= model.keys()
        }
        for pair, table in tables_for(space, banks).items()
    }


def mean_by_kind(swept: Sweep) -> Sweep:
    """Return the means over the splits of each kind of task, as in the paper's Figures 3 to 6."""
    kinds = _kinds(swept.surfaces)
    mean = lambda values, tasks: np.mean([values[task] for task in tasks], axis=0)  # noqa: E731
    return replace(
        swept,
        surfaces={kind: mean(swept.surfaces, tasks) for kind, tasks in kinds.items()},
        unified={kind: float(mean(swept.unified, tasks)) for kind, tasks in kinds.items()},
        metrics={
            kind: ", ".join(dict.fromkeys(map(swept.metric, tasks)))
            for kind, tasks in kinds.items()
        },
    )


def mean_levels(levels: Levels) -> Levels:
    """Return the means over the splits of each kind, of the sources that all of them have."""
    return {
        kind: {
            source: float(np.mean([levels[task][source] for task in tasks]))
            for source in levels[tasks[0]]
            if all(source in levels[task] for task in tasks)
        }
        for kind, tasks in _kinds(levels).items()
    }


def _kinds(tasks: Mapping[str, object]) -> dict[str, list[str]]:
    """Return kinds of tasks (``audio-text``) to the tasks of all splits."""
    kinds: dict[str, list[str]] = {}
    for task in tasks:
        kinds.setdefault("-".join(pair_of(task)), []).append(task)
    return kinds
