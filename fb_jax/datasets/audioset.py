"""AudioSet: ten seconds of a YouTube video, each with one or more of 527 labels.

Lines of the lists that begin with ``#`` are comments, and labels stand in one quoted cell.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import list_in, read_rows, require_cells
from fb_jax.datasets.youtube import clip_names, require_id
from fb_jax.errors import FreeBindError


def read(root: Path, subset: str) -> Listing:
    """Read ``SUBSET_segments.csv`` and ``class_labels_indices.csv``."""
    classes = _classes(list_in(root, "class_labels_indices.csv"))
    path = list_in(root, f"{subset}_segments.csv")
    entries = []
    for number, cells in _segments(path):
        where = f"{path}, line {number}"
        require_cells(cells, 4, where)
        video, start, stop, labels = cells
        _require_known(mids := labels.split(","), classes, where)
        with files.explained("a line of a list is malformed", where):
            names_of_clip = clip_names(require_id(video, where), float(start), float(stop))
        entries.append(Entry(video, {"audio": names_of_clip}, labels=mids))
    return Listing(path, entries, classes)


def _classes(path: Path) -> dict[str, str]:
    """Return the id of each class to its name, in the order of the list."""
    classes: dict[str, str] = {}
    for row in read_rows(path, "index", "mid", "display_name"):
        if classes.setdefault(mid := row["mid"], row["display_name"]) != row["display_name"]:
            raise FreeBindError("a class has two names", where=path, got=mid)
    return classes


def _segments(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines that are no comments."""
    lines = [(n, line) for n, line in enumerate(files.read_lines(path), 1) if line[:1] != "#"]
    with files.explained("a list cannot be read", path):
        cells = csv.reader((line for _, line in lines), skipinitialspace=True, strict=True)
        yield from (
            (number, found) for (number, _), found in zip(lines, cells, strict=True) if found
        )


def _require_known(mids: list[str], classes: dict[str, str], where: str) -> None:
    if strange := [mid for mid in mids if mid not in classes]:
        raise FreeBindError(
            "a label is no class",
            where=where,
            expected="ids of class_labels_indices.csv, such as /m/09x0r",
            got=", ".join(strange),
        )


AUDIOSET = DataSet(
    title="AudioSet",
    read=read,
    subsets={"eval": 20371, "balanced_train": 22160},
    folders={"audio": ("audio", "audio/{subset}", "{subset}", "{subset}_segments", "")},
    paper={"audio": 19048},
    source="https://research.google.com/audioset/download.html",
    licence="list: CC BY 4.0; media: YouTube's",
    templates=("laion",),
    note="nobody has published which 19048 clips of eval the paper had",
)
