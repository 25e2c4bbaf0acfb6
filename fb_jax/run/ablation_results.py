"""The results of an ablation: a table beside the paper's figures, or factor surfaces, as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
from fb_jax.evaluation.results import COLUMNS
from fb_jax.evaluation.tables.paper import paper_figures
from fb_jax.evaluation.tables.rendering import captions, terminal_tables, write_table
from fb_jax.evaluation.tables.tabulating import tasks_on
from fb_jax.evaluation.tasks import PAPER_TASKS
from fb_jax.extras import import_extra
from fb_jax.fusion import FusedSpace
from fb_jax.projector import DIRECTIONS, PIPELINES
from fb_jax.run.ablation_record import Ablation, without_val
from fb_jax.run.ablation_rows import Model, make_rows, plan_rows
from fb_jax.run.product import Announce
from fb_jax.run.report import points_for
from fb_jax.run.reporter import Reporter
from fb_jax.run.splits import evaluation_banks
from fb_jax.training import Training
from fb_jax.training.settings import PAPER_BATCH

TABLE = "table.txt"
"""The table as a command prints it."""


def require_results(ablation: Ablation) -> None:
    """Raise a FreeBindError if some result would be impossible, before any bond is trained."""
    config = ablation.config
    plans = plan_rows(ablation.rows, config)
    if ablation.number:
        tasks_of(ablation)
        return
    import_extra("plotly.graph_objects", "plots", "interactive pages of surfaces")
    for label, space in plans.items():
        if not evaluation_banks(space, config.data, config.pool):
            raise FreeBindError(
                f"there are no surfaces of {label}",
                where=config.data,
                expected=f"a split with pairs or labels, and rows of {', '.join(space.spaces)}",
                got=", ".join(ablation.splits) or "none",
            )


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
    sets, number, folder = ablation.sets, ablation.number, ablation.folder
    with reporter.task(f"evaluation of {ablation.table}", len(sets) * len(models)) as advance:
        advance(0)
        table = tabulate(
            models,
            sets,
            tasks=tasks_of(ablation),
            title=f"Table {number}",
            paper=number,
            progress=advance,
        )
    about = {**table.about, "ablation": ablation.computed_from()}
    notes = own_settings(ablation.config.training)
    table = replace(as_in_paper(table, number), about=about, notes=notes)
    write_table(folder, table)
    text = terminal_text(table).encode()
    files.write_atomic(folder / TABLE, lambda file: file.write(text))
    return [TABLE, *(f"table.{ending}" for ending in ("md", "csv", "tex", "json"))]


def own_settings(training: Training) -> tuple[str, ...]:
    """Return a line with the settings that are others than FreeBind's in the paper, if any."""
    epochs = {kind: DIRECTIONS[kind].epochs for kind in ("displacement", "combination")}
    paper = vars(PIPELINES["freebind"]) | {
        "epochs": ", ".join(f"{count} for a {kind}" for kind, count in epochs.items()),
        "batch": PAPER_BATCH,
        "learning_rate": Training.learning_rate,
    }
    own = [
        f"{name} {value} (the paper: {paper[name]})"
        for name, value in vars(training).items()
        if name in paper and value not in (None, paper[name])
    ]
    return (f"Trained with {', '.join(own)}.",) if own else ()


def as_in_paper(table: TaskTable, number: str) -> TaskTable:
    """Return a table with the first metric of each task, and with the paper's tasks that it lacks.

    These hold the paper's figures alone.
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
    return capture.get() + "".join(f"{line}\n" for line in captions(table))


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
