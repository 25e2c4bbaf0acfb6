"""``freebind eval --tasks``: a product, its sources and baselines beside the paper's figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.markup import escape
from tyro.conf import arg

from fb_jax import files
from fb_jax.banks import BankSet
from fb_jax.cli.source import Source
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError, unknown
from fb_jax.evaluation import Bootstrap, TaskTable, tabulate
from fb_jax.evaluation.memory import in_bytes
from fb_jax.evaluation.models import model_rows
from fb_jax.evaluation.tables.comparing import (
    compare_results,
    not_compared,
    require_comparable,
    stored_table,
)
from fb_jax.evaluation.tables.origin import origin
from fb_jax.evaluation.tables.rendering import captions, plain, terminal_tables, write_table
from fb_jax.evaluation.tables.tabulating import tasks_on
from fb_jax.evaluation.tasks import PAPER_TASKS, Task
from fb_jax.fusion import Factors
from fb_jax.fusion.card import HUBS
from fb_jax.fusion.factors import CHOSEN, as_text
from fb_jax.run.choosing import Chosen, as_chosen

ALL, BEST = "all", "best single source"


@dataclass(frozen=True)
class TaskOptions:
    """Tasks, and tables of them."""

    product: Annotated[str | None, arg(metavar="NAME")] = None
    """Product that freebind train made, in runs/word_world or runs; instead of --run."""

    tasks: Annotated[tuple[str, ...], arg(metavar="TASK")] = ()
    """Print one table of these tasks, beside the paper's figures: all, or names of splits such as
    audiocaps, clotho, vggss, flickrnet, coco, flickr30k, esc50, audioset, imagenet, test."""

    out: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """With --tasks: also write table.md, table.csv, table.json and table.tex there."""

    against: Annotated[Path | None, arg(metavar="table.json")] = None
    """With --tasks: also print the differences from these earlier results; refused if data,
    protocol or templates differ."""

    memory_gb: Annotated[float, arg(name="memory-gb")] = 8.0
    """Memory that the evaluation may take, in GB (10^9 bytes); figures do not depend on it."""

    resamples: int = 1000
    """With --tasks: number of resamples of the items, for the 95 % intervals; 0 leaves them out."""

    seed: int = 0
    """With --tasks: seed of the resampling."""

    @property
    def memory(self) -> int:
        """Memory in bytes."""
        return in_bytes(self.memory_gb)

    def require_fitting(self, split: str | None, json: Path | None = None) -> None:
        """Raise a FreeBindError if options are set that do not go together."""
        alone = {"--out": self.out, "--against": self.against}
        stray = [name for name, value in alone.items() if value is not None and not self.tasks]
        if stray:
            raise FreeBindError(f"{stray[0]} is for a table of tasks", fix="add --tasks all")
        if self.tasks and split is not None:
            raise FreeBindError("--tasks names splits itself", got=f"--split {split}")
        if self.tasks and json is not None:
            raise FreeBindError("--json is for a table without --tasks", fix="--out FOLDER")


def show_tasks(
    source: Source,
    points: Mapping[str, Factors],
    options: TaskOptions,
    metrics: Sequence[str] | None = None,
) -> TaskTable:
    """Print the table of a space on some tasks; write it and compare it, if that is asked for.

    Raises:
        FreeBindError: There is no such task, too little memory, or results that do not compare.
    """
    if options.out is not None:
        files.require_writable(options.out)
    before = _earlier(options.against) if options.against else None
    every = as_chosen(source.every_split(), source.validation)
    tasks = chosen_tasks(every, options.tasks)
    sets = {name: every[name] for name in every if name in {task.split for task in tasks}}
    if before is not None:  # not after all the work
        earlier = stored_table(before, options.against).about
        require_comparable(origin(sets, {}), earlier, options.against)
    known = {**model_rows(source.space, points), **source.corrected_sources()}
    first = source.space.spaces[0]
    names = {"unified": first, f"unified{HUBS}": f"{first}{HUBS}"}
    rows = {names.get(name, name): row for name, row in known.items()}
    natives = [name for name, row in rows.items() if isinstance(row, str)]
    with ConsoleReporter().task(source.space.title, len(rows) * len(sets)) as advance:
        advance(0)
        table = tabulate(
            rows,
            sets,
            tasks=[task.name for task in tasks],
            metrics=metrics,
            title=source.space.title,
            bootstrap=Bootstrap(options.resamples, options.seed),
            memory=options.memory,
            progress=advance,
        )
    table = replace(table.with_best_of(natives, BEST), notes=_factors(points, source.chosen))
    _show(table)
    if options.out is not None:
        write_table(options.out, table)
    if before is not None:
        both = plain(table), before, options.against
        for line in [*map(str, compare_results(*both)), *not_compared(*both)]:
            console.print(escape(line), highlight=False)
    return table


def _factors(points: Mapping[str, Factors], chosen: Chosen | None) -> tuple[str, ...]:
    """Return a line for each row with factors, such as ``chosen: audio 0.5, chosen on val``."""
    on = f", chosen on {chosen.on}" if chosen else ""
    return tuple(f"{n}: {as_text(at)}" + on * (n == CHOSEN) for n, at in points.items())


def chosen_tasks(sets: Mapping[str, BankSet], wanted: Collection[str]) -> list[Task]:
    """Return the wanted tasks, or all tasks of wanted splits: the paper's first.

    Raises:
        FreeBindError: There is no such task or split, or none at all.
    """
    tasks = {task.name: task for name in sets for task in tasks_on(name, sets[name])}
    order = dict.fromkeys([*(name for name in PAPER_TASKS if name in tasks), *tasks])
    for name in wanted:
        if name not in (known := [ALL, *tasks, *sets]):
            raise _not_here(name) if name in PAPER_TASKS else unknown("task", name, known)
    kept = [name for name in order if {ALL, name, tasks[name].split}.intersection(wanted)]
    if not kept:
        raise FreeBindError(
            "there is nothing to evaluate",
            expected="splits with pairs or labels, and rows of a space of the run",
            got=f"splits {', '.join(sets)}" if sets else "no such split in the data",
            fix="look at --data: freebind bank info shows what a bank root holds",
        )
    return [tasks[name] for name in kept]


def _earlier(path: Path) -> Any:
    """Return what a ``table.json`` holds."""
    fix = "name the table.json that freebind eval --tasks all --out FOLDER wrote"
    if path.suffix != ".json":
        raise FreeBindError("this is no table.json", where=path, fix=fix)
    files.open_regular(path, "the table of earlier results", fix=fix).close()
    return files.read_json(path)


def _not_here(name: str) -> FreeBindError:
    """Return the error for a task of the paper whose split the data lack."""
    return FreeBindError(
        f"these data have no split {name}",
        expected=f"rows of {name}: docs/datasets.md",
        fix=f"freebind data {name} --root FOLDER --out BANK_ROOT, or name other data: --data",
    )


def _show(table: TaskTable) -> None:
    for part in terminal_tables(table, console.width):
        console.print(part)
    for line in captions(table):
        console.print(escape(line), highlight=False)
    for task in table.tasks:
        counts = ", ".join(f"{count} {m}" for m, count in table.items[task.name].items())
        print(f"{task.name}: {counts}" + (f" (paper: {task.paper})" if task.paper else ""))
