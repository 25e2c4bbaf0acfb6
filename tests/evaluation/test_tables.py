from io import StringIO

import pytest
from rich.console import Console

from fb_jax.evaluation import results_table


def figures(*recalls):
    return {f"R@{k}": recall for k, recall in zip((1, 5, 10), recalls, strict=True)}


METRICS = {
    "unified": {
        "audio-text": figures(9.24, 27.47, 40.0),
        "image-text": figures(57.28, 79.54, 88.0),
    },
    "expert": {"audio-text": figures(40.25, 76.21, 100.0)},
    "a model": {"image-text": figures(57.0, 79.0, 88.0)},
}


@pytest.fixture
def lines():
    out = StringIO()
    Console(file=out, width=100).print(results_table(METRICS, "test: u + e"))
    return [
        [cell.strip() for cell in line.strip("│┃").split("│" if "│" in line else "┃")]
        for line in out.getvalue().splitlines()
        if set("│┃") & set(line)
    ]


def test_a_row_tells_r_at_1_5_and_10_for_every_pair(lines):
    assert lines[0] == ["model", "audio-text", "image-text"]
    assert lines[1] == ["unified", "9.2/27.5/40.0", "57.3/79.5/88.0"]


def test_cells_that_make_no_sense_are_blank(lines):
    assert lines[2:] == [["expert", "40.2/76.2/100.0", ""], ["a model", "", "57.0/79.0/88.0"]]


def test_the_table_says_what_it_shows():
    table = results_table(METRICS, "test: u + e")
    assert table.title == "test: u + e"
    assert table.caption.startswith("R@1/R@5/R@10 in %, mean of both directions")
