"""Flickr30k in Karpathy's splits: pictures with five captions each.

Read from ``dataset_flickr30k.json`` or from ``flickr30k_SUBSET_karpathy.txt``, whose captions hold
commas without quotes.
"""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.karpathy import read_karpathy
from fb_jax.datasets.lists import PAGE, list_in, stem_of
from fb_jax.errors import FreeBindError

END = ".jpg,"


def read(root: Path, subset: str) -> Listing:
    """Read Karpathy's list, or the text that retrieval benchmarks use."""
    names = ("dataset_flickr30k.json", f"flickr30k_{subset}_karpathy.txt")
    path = list_in(root, *names, *(f"annotations/{name}" for name in names))
    if path.suffix == ".json":
        pictures = read_karpathy(path, "flickr30k", subset)
        captions = {picture.filename: picture.captions for picture in pictures}
    else:
        captions = _text(path)
    entries = [Entry(name, {"image": (stem_of(name),)}, c) for name, c in captions.items()]
    return Listing(path, entries)


def _text(path: Path) -> dict[str, list[str]]:
    """Return the captions of each picture; the first line names the columns."""
    found: dict[str, list[str]] = {}
    for number, line in enumerate(files.read_lines(path), 1):
        name, end, caption = line.partition(END)
        if bool(end) == (number == 1):
            raise FreeBindError(
                "this line is not as published",
                where=f"{path}, line {number}",
                expected="names of columns" if number == 1 else "NAME.jpg,CAPTION",
                got=line[:80],
                fix=f"take the list as published; {PAGE}",
            )
        if end:
            found.setdefault(f"{name}.jpg", []).append(caption.strip())
    return found


FLICKR30K = DataSet(
    title="Flickr30k, Karpathy's splits",
    read=read,
    subsets={"test": 1000, "val": 1014, "train": 29000},
    folders={"image": ("flickr30k-images", "flickr30k_images", "images", "Images", "")},
    paper={"image": 1000},
    source="https://shannon.cs.illinois.edu/DenotationGraph and Karpathy's caption_datasets.zip",
    licence="research and education (unconfirmed); pictures: Flickr's terms",
)
