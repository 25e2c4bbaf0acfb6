"""The results of an ablation: a table beside the paper's figures, or factor surfaces, as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import IO

from rich.console import Console

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import (
    TaskTable,
    levels_of,
    mean_by_kind,
    mean_levels,
    sweep_sets,
    tabulate,
    write_surfaces,
)
from fb_jax.evaluation.paper import paper_figures
from fb_jax.evaluation.rendering import (
    NOTE,
    comma_separated,
    latex,
    markdown,
    plain,
    terminal_tables,
)
from fb_jax.evaluation.results import COLUMNS
from fb_jax.evaluation.tabulating import tasks_on
from fb_jax.evaluation.tasks import PAPER_TASKS
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace
from fb_jax.run.ablation_record import Ablation, without_val
from fb_jax.run.ablation_rows import Model, make_rows
from fb_jax.run.product import Announce
from fb_jax.run.report import evaluation_banks, points_for
from fb_jax.run.reporter import Reporter


def require_results(ablation: Ablation) -> None:
    """Raise a FreeBindError if results would be impossible, before any bond is trained."""
    if ablation.number:
        tasks_of(ablation)
    else:
        import_extra("plotly.graph_objects", "plots", "interactive pages of surfaces")


def make_results(ablation: Ablation, reporter: Reporter, announce: Announce) -> None:
    """Make all rows of a table, or the spaces of the figures, and write the results."""
    models = make_rows(ablation.rows, ablation.config, reporter, announce)
    write = _write_table if ablation.number else _write_figures
    ablation.record(write(ablation, models, reporter))


def tasks_of(ablation: Ablation) -> list[str]:
    """Return the tasks that a table is measured on: the paper's for it, and those of other splits.

    Raises:
        FreeBindError: No split has any.
    """
    papers = _tasks_of_paper(ablation.number)
    found = [task.name for name, banks in ablation.sets.items() for task in tasks_on(name, banks)]
    kept = [name for name in found if name in papers or name not in PAPER_TASKS]
    if not kept:
        raise FreeBindError(
            f"no split has a task of {ablation.table}",
            where=ablation.config.data,
            expected=f"{', '.join(papers)}, or pairs or labels in splits of your own",
            got=", ".join(found) or "none",
        )
    return kept


def _tasks_of_paper(number: str) -> list[str]:
    by_task = paper_figures(number).values()
    return list(dict.fromkeys(task for tasks in by_task for task in tasks))


def _write_table(ablation: Ablation, models: Mapping[str, Model], reporter: Reporter) -> list[str]:
    """Measure the rows and write them in every format; return the names of the files."""
    sets, tasks, number = ablation.sets, tasks_of(ablation), ablation.number
    with reporter.task(f"evaluation of {ablation.table}", len(sets) * len(models)) as advance:
        advance(0)
        options = {"title": f"Table {number}", "paper": number, "progress": advance}
        table = tabulate(models, sets, tasks=tasks, **options)
    table = replace(as_in_paper(table, number), about=ablation.computed_from())
    for name, render in TEXTS.items():
        files.write_atomic(ablation.folder / name, partial(_write, render(table)))
    files.write_json(ablation.folder / "table.json", plain(table))
    return [*TEXTS, "table.json"]


def as_in_paper(table: TaskTable, number: str) -> TaskTable:
    """Return a table with the paper's columns: a metric for each task, and the tasks it lacks.

    Columns of tasks that these data do not have hold the paper's figures alone.
    """
    here = [task.name for task in table.tasks]
    lacking = [PAPER_TASKS[name] for name in _tasks_of_paper(number) if name not in here]
    tasks = (*table.tasks, *lacking)
    return replace(table, tasks=tuple(replace(task, metrics=task.metrics[:1]) for task in tasks))


def terminal_text(table: TaskTable) -> str:
    """Return a table as text of at most 80 columns."""
    console = Console(width=COLUMNS, no_color=True, force_terminal=False)
    with console.capture() as capture:
        for part in terminal_tables(table, COLUMNS):
            console.print(part)
    return f"{capture.get()}{NOTE}\n"


TABLE = "table.txt"
TEXTS: Mapping[str, Callable[[TaskTable], str]] = {
    TABLE: terminal_text,
    "table.md": markdown,
    "table.csv": comma_separated,
    "table.tex": latex,
}


def _write(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())


def _write_figures(
    ablation: Ablation, models: Mapping[str, Model], reporter: Reporter
) -> list[str]:
    """Write the surfaces of every space: their means over the splits, and all as numbers."""
    config, written = ablation.config, []
    for label, space in models.items():
        assert isinstance(space, FusedSpace)
        sets = without_val(evaluation_banks(space, config.data, config.pool), config.val)
        with reporter.task(f"surfaces of {label}", 0) as advance:
            swept = sweep_sets(space, sets, progress=advance)
        levels, name = mean_levels(levels_of(space, sets)), space.title
        title = f"{label}, {', '.join(sets)}"
        own = mean_by_kind(swept), levels, points_for(space), title, ablation.folder, name
        written += [path.name for path in write_surfaces(*own)]
        files.write_json(ablation.folder / f"{name}.json", swept.to_dict())
        written.append(f"{name}.json")
    return written
