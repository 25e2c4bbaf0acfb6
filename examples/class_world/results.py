"""Evaluation of a world's bonds: ``metrics.json``, and ``tables.md`` for docs/class_world.md."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from examples.class_world.corpus import LABELLED
from examples.class_world.prompts import Prompted, by_template
from examples.word_world.results import PACKAGES, SPACES
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import Cell, TaskTable, tabulate
from fb_jax.evaluation.spaces import Row
from fb_jax.evaluation.tables.rendering import markdown, plain
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run

SETS = ("test", *LABELLED)
CLAPS = ("clap_general", "clap_music")
GAINS = (
    *((bond, "imagebind") for bond in ("+ general", "+ music", "both")),
    *(("both", other) for other in ("+ general", "+ music", *CLAPS, "mean of scores")),
    *(("both, at_expertise", other) for other in (*CLAPS, "mean of scores")),
    ("internvl_ib", "imagebind"),
)
"""Rows whose difference gets an interval: the first minus the second."""

BY_TEMPLATE = ("imagebind", "clap_general", "both", "internvl")


def write_results(folder: Path, seed: int) -> None:
    """Evaluate every bond and product of a world, at the paper's factors.

    Args:
        folder: Folder of a world, as ``build`` leaves it.
        seed: The world's seed.
    """
    sets = {name: open_banks(folder / "banks", name, spaces=SPACES) for name in SETS}
    rows = models(folder / "runs")
    table = tabulate(rows, sets, paper={})
    prompts = {
        name: by_template(
            {row: rows[row] for row in BY_TEMPLATE}, sets[name], _templates(sets[name])
        )
        for name in LABELLED
    }
    files.write_json(
        folder / "metrics.json",
        {
            "seed": seed,
            "versions": {name: version(name) for name in PACKAGES},
            "spaces": files.read_json(folder / "scores.json"),
            "table7": plain(table),
            "gains": _plain(gains(table)),
            "prompts": _plain(prompts),
        },
    )
    parts = [markdown(table), _as_lines(gains(table)), *map(_prompts, prompts, prompts.values())]
    files.write_atomic(folder / "tables.md", partial(_write, "\n\n".join(parts)))


def models(runs: Path) -> dict[str, Row]:
    """Return the rows of Table 7 and what they are compared with."""
    one = {
        name: Run(runs / f"imagebind-combination-clap_{name}").space
        for name in ("general", "music")
    }
    both = FusedSpace.load(runs / "imagebind_pp" / "space")
    return {
        **{name: name for name in SPACES},
        "mean of scores": ("imagebind", *CLAPS),
        **{f"+ {name}": space.at("versatile") for name, space in one.items()},
        "both": both.at("versatile"),
        "both, at_expertise": both.at("at_expertise"),
        "internvl_ib": FusedSpace.load(runs / "internvl_ib" / "space").at("it_expertise"),
    }


def gains(table: TaskTable) -> dict[str, dict[str, Cell]]:
    """Return differences of rows of a table in points, paired by items: rows to column to cell."""
    return {
        f"{row} minus {other}": {
            f"{task.name} {metric}": Cell.of(table.samples[row][task.name][metric] - theirs[metric])
            for task, metric in table.columns
            if (theirs := table.samples[other].get(task.name)) and task.name in table.samples[row]
        }
        for row, other in GAINS
    }


def _templates(banks: BankSet) -> list[str]:
    return list(files.read_json(Path(banks.split.path) / "dataset.json")["templates"])


def _plain(value: Any) -> Any:
    """Return named tuples in mappings as JSON types."""
    if isinstance(value, Prompted | Cell):
        value = value._asdict()
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _as_lines(differences: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return differences as a Markdown table with a line for each."""
    lines = ["| difference | task | points |", "| --- | --- | --- |"]
    for rows, by_column in differences.items():
        lines += [f"| {rows} | {column} | {_signed(cell)} |" for column, cell in by_column.items()]
    return "\n".join(lines)


def _prompts(split: str, by_row: Mapping[str, Mapping[str, Prompted]]) -> str:
    """Return a Markdown table of the prompts of one split: a line for each template."""
    names = list(next(iter(by_row.values())))
    lines = ["| " + " | ".join([split, *by_row]) + " |", "| --- |" + " --- |" * len(by_row)]
    for name in names:
        cells = [
            f"{own[name].figure.value:.1f} ({_signed(own[name].averaging)})"
            for own in by_row.values()
        ]
        lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
    return "\n".join(lines)


def _signed(cell: Cell) -> str:
    return f"{cell.value:+.1f} [{cell.low:+.1f}, {cell.high:+.1f}]"


def _write(text: str, file: Any) -> None:
    file.write(text.encode())
