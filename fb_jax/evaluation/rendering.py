"""A table of tasks as text: for a terminal, as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from fb_jax.evaluation.table import Cell, TaskTable
from fb_jax.evaluation.tasks import Task

NOTE = "In square brackets: 95 % interval over resampled items. In round ones: the paper's figure."
LATEX = re.compile(r"[&%$#_{}~^\\]")
ESCAPES = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def _parts(table: TaskTable, row: str, task: Task, metric: str) -> tuple[str, str, str, bool]:
    """Return a cell as texts, value, interval and the paper's figure; and whether it is best."""
    cell, theirs = table.cell(row, task, metric), table.paper_value(row, task, metric)
    paper = "" if theirs is None else f"({theirs:.2f})"
    if cell is None:
        return "", "", paper, False
    interval = f"[{cell.low:.1f}, {cell.high:.1f}]" if cell.low < cell.high else ""
    return f"{cell.value:.1f}", interval, paper, cell.value == table.best(task, metric)


def _lines(table: TaskTable) -> Iterator[tuple[str, list[tuple[str, str, str, bool]]]]:
    for row in table.cells:
        yield row, [_parts(table, row, task, metric) for task, metric in table.columns]


def terminal_tables(table: TaskTable, width: int) -> list[Table]:
    """Return tables that fit a terminal, with as many columns each as it has room for."""
    widest = max([12, *(len(row) for row in table.cells)])
    room = max(1, (width - widest - 4) // 15)
    lines, columns = list(_lines(table)), table.columns
    found = []
    for start in range(0, len(columns), room):
        part = Table(title=table.title if start == 0 else None, title_justify="left")
        part.add_column("model", overflow="fold")
        for task, metric in columns[start : start + room]:
            part.add_column(f"{task.name}\n{metric}", justify="right")
        for row, cells in lines:
            part.add_row(row, *(_stacked(*cell) for cell in cells[start : start + room]))
        found.append(part)
    return found


def _stacked(value: str, interval: str, paper: str, best: bool) -> str:
    shown = f"[bold]{value}*[/bold]" if best else value
    return "\n".join(part for part in (shown, interval.replace("[", r"\["), paper) if part)


def markdown(table: TaskTable) -> str:
    """Return a Markdown table; the best value of a column is bold."""
    heads = ["model", *(f"{task.name} {metric}" for task, metric in table.columns)]
    lines = [_piped(heads), _piped(["---"] * len(heads))]
    for row, cells in _lines(table):
        shown = [
            " ".join(part for part in (f"**{v}**" if best else v, interval, paper) if part)
            for v, interval, paper, best in cells
        ]
        lines.append(_piped([row, *shown]))
    title = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*title, *lines, "", NOTE, ""])


def _piped(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def latex(table: TaskTable) -> str:
    """Return a LaTeX tabular, without packages; the best value of a column is bold."""
    heads = ["model", *(f"{task.name} {metric}" for task, metric in table.columns)]
    lines = [" & ".join(map(_escaped, heads)) + r" \\", r"\hline"]
    for row, cells in _lines(table):
        shown = [
            " ".join(
                part
                for part in (
                    rf"\textbf{{{value}}}" if best else value,
                    rf"{{\scriptsize {interval}}}" if interval else "",
                    paper,
                )
                if part
            )
            for value, interval, paper, best in cells
        ]
        lines.append(" & ".join([_escaped(row), *shown]) + r" \\")
    title = [f"% {line}" for line in f"{table.title}\n{NOTE}".splitlines() if line]
    begin = rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}"
    return "\n".join([*title, begin, *lines, r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return LATEX.sub(lambda found: ESCAPES.get(found[0], "\\" + found[0]), text)


def comma_separated(table: TaskTable) -> str:
    """Return CSV with a line for each cell: row, task, metric, value, low, high, paper."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["model", "task", "metric", "value", "low", "high", "paper"])
    for row in table.cells:
        for task, metric in table.columns:
            cell, theirs = table.cell(row, task, metric), table.paper_value(row, task, metric)
            numbers = ["", "", ""] if cell is None else list(cell)
            lines.writerow([row, task.name, metric, *numbers, "" if theirs is None else theirs])
    return text.getvalue()


def plain(table: TaskTable) -> dict[str, Any]:
    """Return a table as JSON types."""
    return {
        "title": table.title,
        "tasks": [asdict(task) | {"items": table.items.get(task.name, {})} for task in table.tasks],
        "figures": {
            row: {t: {m: _named(cell) for m, cell in own.items()} for t, own in by_task.items()}
            for row, by_task in table.cells.items()
        },
        "paper": {row: dict(by_task) for row, by_task in table.paper.items()},
        "about": dict(table.about),
    }


def _named(cell: Cell) -> dict[str, float]:
    return {name: round(value, 6) for name, value in cell._asdict().items()}
