"""A table of tasks as text: for a terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

from fb_jax import files
from fb_jax.evaluation.tables.table import DIGITS, TaskTable, rounded
from fb_jax.evaluation.tasks import Task

INTERVAL = "In square brackets: 95 % interval over resampled items."
PAPER = "In round ones: the paper's figure."
LATEX = re.compile(r"[&%$#_{}~^\\]")
ESCAPES = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


class Texts(NamedTuple):
    """A cell as texts, each "" if there is none.

    Attributes:
        value: The figure.
        interval: Its interval, in square brackets.
        paper: The paper's figure, in round brackets.
        best: Whether the figure is the best of its column.
    """

    value: str = ""
    interval: str = ""
    paper: str = ""
    best: bool = False

    def joined(self, space: str, mark: Callable[[str], str], small: Callable[[str], str]) -> str:
        """Return the parts that there are; ``mark`` is for the best value, ``small`` for others."""
        value = mark(self.value) if self.best else self.value
        interval = small(self.interval) if self.interval else ""
        return space.join(part for part in (value, interval, self.paper) if part)


def _texts(table: TaskTable, row: str, task: Task, metric: str) -> Texts:
    cell, theirs = table.cell(row, task, metric), table.paper_value(row, task, metric)
    paper = "" if theirs is None else f"({theirs:.2f})"
    if cell is None:
        return Texts(paper=paper)
    interval = f"[{rounded(cell.low)}, {rounded(cell.high)}]" if cell.low < cell.high else ""
    return Texts(rounded(cell.value), interval, paper, cell.value == table.best(task, metric))


def _lines(table: TaskTable) -> Iterator[tuple[str, list[Texts]]]:
    for row in table.cells:
        yield row, [_texts(table, row, task, metric) for task, metric in table.measured]


def _heads(table: TaskTable) -> list[str]:
    return ["model", *(f"{task.name} {metric}" for task, metric in table.measured)]


def captions(table: TaskTable, best: str = "*") -> list[str]:
    """Return the lines below a table: what its marks mean, and its notes.

    Args:
        table: The table.
        best: The mark of the best figure of a column.
    """
    here = table.measured
    theirs = any(
        table.paper_value(row, *column) is not None for row in table.cells for column in here
    )
    marks = [f"{best}: the best of its column.", INTERVAL, *[PAPER] * theirs]
    alone = [
        f"{task.name} {metric}" for task, metric in table.columns if (task, metric) not in here
    ]
    papers = [f"Of the paper alone: {', '.join(alone)} (table.csv, table.json)."] if alone else []
    return [" ".join(marks), *papers, *table.notes]


def terminal_tables(table: TaskTable, width: int) -> list[Table]:
    """Return tables that fit a terminal, with as many columns each as it has room for."""
    widest = max([5, *map(len, table.cells)])
    room = max(1, (width - widest - 4) // 15)
    lines, columns, found = list(_lines(table)), table.measured, []
    for start in range(0, len(columns), room):
        part = Table(title=None if start else escape(table.title), title_justify="left")
        part.add_column("model", overflow="fold")
        for task, metric in columns[start : start + room]:
            part.add_column(f"{escape(task.name)}\n{escape(metric)}", justify="right")
        for row, cells in lines:
            shown = (
                cell.joined("\n", lambda value: f"[bold]{value}*[/bold]", escape)
                for cell in cells[start : start + room]
            )
            part.add_row(escape(row), *shown)
        found.append(part)
    return found


def markdown(table: TaskTable) -> str:
    """Return a Markdown table; the best value of a column is bold."""
    lines = [_piped(_heads(table)), _piped(["---"] * (1 + len(table.measured)))]
    for row, cells in _lines(table):
        lines.append(_piped([row, *(c.joined(" ", lambda v: f"**{v}**", str) for c in cells)]))
    title = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*title, *lines, "", *captions(table, "Bold"), ""])


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def latex(table: TaskTable) -> str:
    """Return a LaTeX tabular, without packages; the best value of a column is bold."""
    bold, small = r"\textbf{{{}}}".format, r"{{\scriptsize {}}}".format
    rows = [
        [_escaped(row), *(cell.joined(" ", bold, small) for cell in cells)]
        for row, cells in _lines(table)
    ]
    lines = [" & ".join(cells) + r" \\" for cells in [list(map(_escaped, _heads(table))), *rows]]
    title = [f"% {line}" for line in (table.title, *captions(table, "Bold")) if line]
    begin = rf"\begin{{tabular}}{{l{'r' * len(table.measured)}}}"
    return "\n".join([*title, begin, lines[0], r"\hline", *lines[1:], r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return LATEX.sub(lambda found: ESCAPES.get(found[0], "\\" + found[0]), text)


def comma_separated(table: TaskTable) -> str:
    """Return CSV with a line for each cell: model, task, metric, value, low, high, paper."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["model", "task", "metric", "value", "low", "high", "paper"])
    for row in table.cells:
        for task, metric in table.columns:
            cell, theirs = table.cell(row, task, metric), table.paper_value(row, task, metric)
            ours = [round(value, DIGITS) for value in cell] if cell else [None] * 3
            lines.writerow([row, task.name, metric, *ours, theirs])
    return text.getvalue()


def plain(table: TaskTable) -> dict[str, Any]:
    """Return a table as JSON types."""
    return {
        "title": table.title,
        "tasks": [_about(task) | {"items": table.items.get(task.name, {})} for task in table.tasks],
        "figures": {
            row: {t: {m: cell._asdict() for m, cell in own.items()} for t, own in by_task.items()}
            for row, by_task in table.cells.items()
        },
        "paper": {row: dict(by_task) for row, by_task in table.paper.items()},
        "samples": {
            row: {t.name: _written(by_task[t.name], t) for t in table.tasks if t.name in by_task}
            for row, by_task in table.samples.items()
        },
        "about": dict(table.about),
        "notes": list(table.notes),
    }


def _about(task: Task) -> dict[str, Any]:
    """Return a task as JSON types, with the paper's number of items if there is one."""
    return {name: value for name, value in asdict(task).items() if value or name != "paper"}


def _written(samples: Mapping[str, np.ndarray], task: Task) -> dict[str, str]:
    """Return the values on the resamples as text: one line for each metric."""
    return {m: " ".join(f"{value:.4f}" for value in samples[m][1:]) for m in task.metrics}


def _write(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())


def write_table(folder: Path, table: TaskTable) -> None:
    """Write table.md, table.csv, table.json and table.tex."""
    texts = {"md": markdown(table), "csv": comma_separated(table), "tex": latex(table)}
    for ending, text in texts.items():
        files.write_atomic(folder / f"table.{ending}", partial(_write, text))
    files.write_json(folder / "table.json", plain(table))
