"""The table of an ablation: every row measured on all tasks, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import TaskTable, tabulate
from fb_jax.evaluation.paper import paper_figures
from fb_jax.evaluation.rendering import comma_separated, latex, markdown, plain
from fb_jax.evaluation.tabulating import tasks_on
from fb_jax.evaluation.tasks import PAPER_TASKS
from fb_jax.run.ablation_record import Ablation
from fb_jax.run.ablation_rows import Model
from fb_jax.run.reporter import Reporter

TEXTS: Mapping[str, Callable[[TaskTable], str]] = {
    "table.md": markdown,
    "table.csv": comma_separated,
    "table.tex": latex,
}


def tasks_of(ablation: Ablation) -> list[str]:
    """Return the tasks that a table is measured on: the paper's for it, and those of other splits.

    Raises:
        FreeBindError: No split has any.
    """
    figures = paper_figures(ablation.number)
    papers = {task for by_task in figures.values() for task in by_task}
    found = [task.name for name, banks in ablation.sets.items() for task in tasks_on(name, banks)]
    kept = [name for name in found if name in papers or name not in PAPER_TASKS]
    if not kept:
        raise FreeBindError(
            f"no split has a task of {ablation.table}",
            where=ablation.config.data,
            expected=f"{', '.join(sorted(papers))}, or pairs or labels in splits of your own",
            got=", ".join(found) or "none",
        )
    return kept


def measure(ablation: Ablation, models: Mapping[str, Model], reporter: Reporter) -> TaskTable:
    """Measure the rows of a table, each task by its first metric, as the paper's ablations."""
    tasks, sets = tasks_of(ablation), ablation.sets
    with reporter.task(f"evaluation of {ablation.table}", len(sets) * len(models)) as advance:
        table = tabulate(
            models,
            sets,
            tasks=tasks,
            title=f"Table {ablation.number}",
            paper=ablation.number,
            progress=advance,
        )
    first = tuple(replace(task, metrics=task.metrics[:1]) for task in table.tasks)
    return replace(table, tasks=first, about=ablation.computed_from())


def write_table(ablation: Ablation, table: TaskTable) -> list[str]:
    """Write a table in every format; return the names of its files."""
    for name, render in TEXTS.items():
        content = render(table).encode()
        files.write_atomic(ablation.folder / name, lambda file, c=content: file.write(c))
    files.write_json(ablation.folder / "table.json", plain(table))
    return [*TEXTS, "table.json"]
