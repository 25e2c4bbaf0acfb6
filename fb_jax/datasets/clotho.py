"""Clotho 2.1: recordings of 15 to 30 s with five captions each.

The list of ``evaluation`` has been the same since version 1; names of some files changed in 2.1.
"""

from __future__ import annotations

from pathlib import Path

from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import list_in, read_rows, stem_of

CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


def read(root: Path, subset: str) -> Listing:
    """Read ``clotho_captions_SUBSET.csv``."""
    path = list_in(root, f"clotho_captions_{subset}.csv", f"csv/clotho_captions_{subset}.csv")
    entries = [
        Entry(
            row["file_name"],
            {"audio": (stem_of(row["file_name"]),)},
            [row[column] for column in CAPTIONS],
        )
        for row in read_rows(path, "file_name", *CAPTIONS)
    ]
    return Listing(path, entries)


CLOTHO = DataSet(
    title="Clotho 2.1",
    read=read,
    subsets={"evaluation": 1045, "validation": 1045, "development": 3839},
    folders={"audio": ("{subset}", "clotho_audio_{subset}", "audio/{subset}", "audio", "")},
    paper={"audio": 1045},
    source="https://zenodo.org/records/4783391",
    licence="captions: Tampere University's, non-commercial (unconfirmed); audio: Freesound, "
    "each recording has its own",
)
