import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from fb_jax import files
from fb_jax.evaluation import Cell, Task, TaskTable
from fb_jax.evaluation.tables.comparing import Difference
from fb_jax.evaluation.tables.rendering import (
    captions,
    comma_separated,
    latex,
    markdown,
    terminal_tables,
    write_table,
)

TASKS = (
    Task("coco", "coco", ("image", "text"), ("R@1", "median rank"), 5000),
    Task("a|b_c", "a|b_c", ("audio", "class"), ("mAP",)),
)
TABLE = TaskTable(
    {
        "Image & Bind_~": {
            "coco": {"R@1": Cell(57.04, 55.1, 59.0), "median rank": Cell(1.0, 1.0, 1.0)},
            "a|b_c": {"mAP": Cell(20.0, 18.0, 22.0)},
        },
        "[bold]versatile": {
            "coco": {"R@1": Cell(58.0, 56.0, 60.0), "median rank": Cell(2.0, 2.0, 2.0)}
        },
        "expert": {},
    },
    TASKS,
    "A title_1",
    {"[bold]versatile": {"coco": {"R@1": 57.01}, "a|b_c": {"mAP": 12.3}}},
    {"coco": {"image": 10, "text": 50}},
    {"expert": {"coco": {"R@1": np.array([1, 2, 3.00001]), "median rank": np.array([1, 1, 1])}}},
    {"protocol": {"version": 1}},
)


def printed(width):
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        for part in terminal_tables(TABLE, width):
            console.print(part)
    return capture.get()


def test_a_half_is_rounded_up_in_tables_and_differences_alike():
    task = Task("coco", "coco", ("image", "text"), ("R@1",))
    told = markdown(
        TaskTable({"a": {"coco": {"R@1": Cell(46.65, 7.268150000000002, 50.0)}}}, (task,))
    )
    assert "| **46.7** [7.3, 50.0] |" in told
    assert str(Difference("a", "coco", "R@1", 46.65, 46.7)).endswith("46.7 against 46.7: -0.1")


def test_a_column_of_the_paper_alone_is_named_and_stays_in_the_csv():
    table = replace(TABLE, cells={"[bold]versatile": TABLE.cells["[bold]versatile"]}, notes=("n",))
    assert captions(table)[1:] == ["Of the paper alone: a|b_c mAP (table.csv, table.json).", "n"]
    assert "mAP |" not in markdown(table)
    assert "12.3" in comma_separated(table)
    without = captions(replace(table, paper={}))
    assert without[0].endswith("over resampled items.")  # no round brackets


def test_a_terminal_shows_value_interval_and_paper_below_each_other():
    told = printed(80)
    assert "A title_1" in told
    assert "[bold]versatile" in told
    lines = [line for line in told.splitlines() if "58.0*" in line or "[56.0, 60.0]" in line]
    assert len(lines) == 2
    assert "(57.01)" in told
    assert "1.0*" in told  # of median ranks the lowest is best
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_gets_several_tables(width):
    told = printed(width)
    assert told.count("model") == {20: 3, 40: 3, 60: 2}[width]


def test_markdown():
    assert markdown(TABLE).splitlines() == [
        "**A title_1**",
        "",
        r"| model | coco R@1 | coco median rank | a\|b_c mAP |",
        "| --- | --- | --- | --- |",
        "| Image & Bind_~ | 57.0 [55.1, 59.0] | **1.0** | **20.0** [18.0, 22.0] |",
        "| [bold]versatile | **58.0** [56.0, 60.0] (57.01) | 2.0 | (12.30) |",
        "| expert |  |  |  |",
        "",
        "Bold: the best of its column. In square brackets: 95 % interval over resampled items. In "
        "round ones: the paper's figure.",
    ]


def test_latex_escapes_what_means_something_there():
    told = latex(TABLE).splitlines()
    assert told[2] == r"\begin{tabular}{lrrr}"
    assert told[3] == r"model & coco R@1 & coco median rank & a|b\_c mAP \\"
    assert told[5].startswith(r"Image \& Bind\_\textasciitilde{} & 57.0 {\scriptsize [55.1, 59.0]}")
    assert r"\textbf{58.0} {\scriptsize [56.0, 60.0]} (57.01)" in told[6]
    assert told[-1] == r"\end{tabular}"


def test_csv_has_a_line_for_each_cell():
    lines = list(csv.DictReader(io.StringIO(comma_separated(TABLE))))
    assert len(lines) == 9
    assert lines[3] == {
        "model": "[bold]versatile",
        "task": "coco",
        "metric": "R@1",
        "value": "58.0",
        "low": "56.0",
        "high": "60.0",
        "paper": "57.01",
    }
    assert lines[6]["value"] == lines[6]["paper"] == ""


def test_json_has_everything(tmp_path):
    write_table(tmp_path, TABLE)
    found = files.read_json(tmp_path / "table.json")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"table.md", "table.csv", "table.json", "table.tex"}
    cell = found["figures"]["Image & Bind_~"]["coco"]["R@1"]
    assert cell == {"value": 57.04, "low": 55.1, "high": 59.0}
    assert found["samples"]["expert"]["coco"]["R@1"] == "2.0000 3.0000"
    assert "paper" not in found["tasks"][1]
    assert found["tasks"][0]["items"] == {"image": 10, "text": 50}
    assert found["paper"]["[bold]versatile"]["a|b_c"] == {"mAP": 12.3}
    assert found["about"] == {"protocol": {"version": 1}}
    assert (tmp_path / "table.md").read_text() == markdown(TABLE)
