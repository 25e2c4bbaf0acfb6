"""Results of a fused space on evaluation splits: figures, and a picture of the factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from fb_jax import files
from fb_jax.banks import POOL, BankSet, open_banks, open_split, splits
from fb_jax.evaluation import RECALLS, Results, evaluate, plot_sweep, sweep
from fb_jax.evaluation.models import pair_tables
from fb_jax.fusion import Factors, FusedSpace, cut, with_basis
from fb_jax.fusion.card import Figures
from fb_jax.run.reporter import Reporter


class _Metrics(TypedDict):
    """What is read of ``metrics.json``."""

    retrieval: dict[str, Figures]


def points_for(space: FusedSpace) -> dict[str, Factors]:
    """Return the factors that a space is evaluated at: the presets, and its own."""
    points = space.presets
    known = space.factors in points.values()
    return points if known else points | {space.title: space.factors}


def complete_splits(space: FusedSpace, root: Path) -> list[str]:
    """Return the splits of a root that have all native spaces."""
    wanted = set(space.spaces)
    return [name for name in splits(root) if wanted <= set(open_split(root, name).spaces())]


def evaluation_banks(space: FusedSpace, root: Path, pool: str = POOL) -> dict[str, BankSet]:
    """Return the banks of the splits of a root that a fused space can be evaluated on."""
    names = [name for name in complete_splits(space, root) if name != pool]
    banks = {name: open_banks(root, name, spaces=space.spaces) for name in names}
    return {name: opened for name, opened in banks.items() if pair_tables(space.modalities, opened)}


def report_space(
    space: FusedSpace,
    evaluation: Mapping[str, BankSet],
    folder: Path,
    reporter: Reporter,
    metrics: Sequence[str] = RECALLS,
) -> dict[str, Results]:
    """Evaluate a space on every split; write ``metrics.json`` and ``sweep.png``.

    The sweep shows the split ``val`` if there is one: factors are not chosen on test.

    Args:
        space: The fused space.
        evaluation: Split to banks with pairs.
        folder: Where to write.
        reporter: Shows progress.
        metrics: Names of metrics.

    Returns:
        Split to results.
    """
    results, points = {}, points_for(space)
    with reporter.task(f"evaluation of {space.title}", len(evaluation)) as advance:
        advance(0)
        for name, banks in evaluation.items():
            results[name] = evaluate(space, banks, points, metrics)
            advance(1)
    figures = {name: result.to_dict() for name, result in results.items()}
    files.write_json(folder / "metrics.json", {"retrieval": figures})
    if evaluation:
        split = "val" if "val" in evaluation else next(iter(evaluation))
        with reporter.task("factor sweep", 0) as advance:
            swept = sweep(space, evaluation[split], progress=advance)
        plot_sweep(swept, points, f"{space.title}, {split}", folder / "sweep.png")
    return results


def read_figures(path: Path) -> dict[str, Figures]:
    """Return the figures that ``report_space`` wrote: split to model to pair to metric to value.

    Raises:
        FreeBindError: The file is damaged or was altered.
    """
    return files.read_json(path, _Metrics)["retrieval"]


def cut_once(
    space: FusedSpace, dim: int, kept: np.ndarray | None, root: Path, pool: str
) -> FusedSpace:
    """Cut a direct sum to the basis that is kept, or fit one on the pool.

    Another machine's bits would give other rows, so that a basis is fitted only once.
    """
    if kept is not None and kept.shape[1] == dim:
        return with_basis(space, kept)
    return cut(space, dim, open_banks(root, pool, spaces=space.spaces))
