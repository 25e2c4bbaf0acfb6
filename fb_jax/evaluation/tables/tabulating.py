"""Measuring models on tasks: from fused spaces and banks to a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.errors import unknown
from fb_jax.evaluation.bootstrap import Bootstrap
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.memory import LIMIT, block_bytes
from fb_jax.evaluation.metrics import require_metric
from fb_jax.evaluation.models import pair_tables, samples_of
from fb_jax.evaluation.retrieval import Samples
from fb_jax.evaluation.spaces import Row, models_of
from fb_jax.evaluation.tables.origin import origin
from fb_jax.evaluation.tables.paper import MAIN, Figures, paper_figures, paper_row
from fb_jax.evaluation.tables.table import Cell, Cells, TaskTable
from fb_jax.evaluation.tasks import PAPER_TASKS, RETRIEVAL, Task, class_metrics, several_classes


def tabulate(
    rows: Mapping[str, Row],
    sets: Mapping[str, BankSet],
    *,
    tasks: Iterable[str] | None = None,
    metrics: Sequence[str] | None = None,
    title: str = "",
    paper: Mapping[str, str] | str | None = None,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
    memory: int = LIMIT,
    progress: Progress = no_progress,
) -> TaskTable:
    """Measure some models on every task that some splits have.

    Args:
        rows: Name of a row to a fused space at its factors, the name of a native space, or names of
            native spaces for the mean of their scores.
        sets: Split to banks of the native spaces; all rows are measured on the items that they all
            have.
        tasks: Names of tasks to keep, in this order; None keeps all.
        metrics: Metrics of retrieval; None takes those of the tasks, R@1 and R@5.
        title: Title of the table.
        paper: Row to the paper's row, or the number of a table of the paper whose rows have the
            names of ours; None finds the rows of Tables 3 and 4.
        bootstrap: Resampling of the items, for the intervals.
        memory: Bytes that the evaluation may take; figures do not depend on it.
        progress: Called with the number of rows just measured on a split.

    Returns:
        The table. Columns without any figure are left out, cells that cannot be measured are blank.

    Raises:
        FreeBindError: There is no such task, or a split needs more memory.
    """
    wanted = _wanted(sets, tasks, metrics)
    by_split = {name: [task for task in wanted if task.split == name] for name in sets}
    by_split = {name: own for name, own in by_split.items() if own}
    blocks = {  # of all splits, before any work
        name: block_bytes(rows, sets[name], [t.pair for t in own], memory, bootstrap.resamples)
        for name, own in by_split.items()
    }
    samples: dict[str, dict[str, Samples]] = {row: {} for row in rows}
    items: dict[str, dict[str, int]] = {}
    for split, own in by_split.items():
        tables = {task.pair: sets[split].pairs(*task.pair) for task in own}
        items |= {task.name: _asked(task, tables[task.pair]) for task in own}
        names, models = {task.pair: task.metrics for task in own}, models_of(rows, sets[split])
        for row in list(models):
            by_pair = samples_of(models.pop(row), tables, names, bootstrap, blocks[split])
            samples[row] |= {t.name: by_pair[t.pair] for t in own if t.pair in by_pair}
            progress(1)
    shown = tuple(task for task in wanted if any(task.name in own for own in samples.values()))
    about = origin({name: sets[name] for name in by_split}, rows) | {"bootstrap": asdict(bootstrap)}
    theirs = _paper_rows(rows, paper)
    return TaskTable(_cells(samples), shown, title, theirs, items, samples, about)


def _wanted(
    sets: Mapping[str, BankSet], tasks: Iterable[str] | None, metrics: Sequence[str] | None
) -> list[Task]:
    """Return the tasks to measure; raise a FreeBindError if there is no such task or metric."""
    found = {task.name: task for name in sets for task in tasks_on(name, sets[name])}
    for name in tasks or ():
        if name not in found:
            raise unknown("task", name, found, "these splits")
    for name in metrics or ():
        require_metric(name)
    return [_with_metrics(found[name], metrics) for name in (tasks or found)]


def _with_metrics(task: Task, metrics: Sequence[str] | None) -> Task:
    return task if metrics is None or CLASS in task.pair else replace(task, metrics=tuple(metrics))


def tasks_on(name: str, banks: BankSet) -> list[Task]:
    """Return the tasks of a split: the paper's, if it has its name, and one for any other pairs."""
    known, found = PAPER_TASKS.get(name), []
    for pair, table in pair_tables(list(banks.rows), banks).items():
        if known is not None and known.pair == pair:
            found.append(known)
        else:
            metrics = class_metrics(table, several_classes(banks)) if CLASS in pair else RETRIEVAL
            found.append(Task(f"{name} {'-'.join(pair)}", name, pair, metrics))
    return found


def _asked(task: Task, table: np.ndarray) -> dict[str, int]:
    """Return the number of items of each side that have a pair."""
    return {m: len(np.unique(table[:, side])) for side, m in enumerate(task.pair)}


def _cells(samples: Mapping[str, Mapping[str, Samples]]) -> Cells:
    return {
        row: {task: {name: Cell.of(v) for name, v in own.items()} for task, own in by_task.items()}
        for row, by_task in samples.items()
    }


def _paper_rows(rows: Mapping[str, Row], paper: Mapping[str, str] | str | None) -> Figures:
    """Return the paper's figures of our rows; see ``tabulate``."""
    if isinstance(paper, str):
        return {row: own for row, own in paper_figures(paper).items() if row in rows}
    theirs = paper_figures(*MAIN)
    names = {row: paper_row(what) for row, what in rows.items()} if paper is None else paper
    return {row: theirs[name] for row, name in names.items() if name in theirs}
