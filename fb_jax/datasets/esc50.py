"""ESC-50: 2000 recordings of 5 s in 50 classes.

The paper's "400" is one of five folds; its figures prove that all 2000 count.
"""

from __future__ import annotations

from pathlib import Path

from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import PAGE, list_in, read_rows, stem_of
from fb_jax.errors import FreeBindError


def read(root: Path, subset: str) -> Listing:
    """Read ``meta/esc50.csv``; an old commit had other columns, which are refused."""
    path = list_in(root, "meta/esc50.csv", "esc50.csv")
    rows = list(read_rows(path, "filename", "fold", "target", "category"))
    entries = [
        Entry(row["filename"], {"audio": (stem_of(row["filename"]),)}, labels=(row["category"],))
        for row in rows
    ]
    return Listing(path, entries, _classes(rows, path))


def _classes(rows: list[dict[str, str]], path: Path) -> dict[str, str]:
    """Return category to its name with spaces, in the order of the targets."""
    for row in rows:
        if not row["target"].isdecimal():
            raise FreeBindError(
                "a target is no number",
                where=f"{path}, {row['filename']}",
                expected="0 to 49",
                got=row["target"],
                fix=f"take the list as published; {PAGE}",
            )
    numbers = sorted({(int(row["target"]), row["category"]) for row in rows})
    classes = {category: category.replace("_", " ") for _, category in numbers}
    if not len(classes) == len({target for target, _ in numbers}) == len(numbers):
        raise FreeBindError(
            "a category has two targets, or a target two categories",
            where=path,
            got=str(numbers)[:200],
        )
    return classes


ESC50 = DataSet(
    title="ESC-50",
    read=read,
    subsets={"all": 2000},
    folders={"audio": ("audio",)},
    paper={"audio": 400},
    source="https://github.com/karolpiczak/ESC-50",
    licence="CC BY-NC 3.0",
    templates=("laion",),
    note="the paper's 400 is one fold of five; its figures prove that all 2000 count",
)
