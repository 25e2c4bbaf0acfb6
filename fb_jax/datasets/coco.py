"""COCO 2014 in Karpathy's splits: pictures with five captions, a few with six or seven.

Read from ``dataset_coco.json``, or from ``coco_SUBSET_karpathy.json`` in COCO's own form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.karpathy import Picture, read_karpathy
from fb_jax.datasets.lists import list_in, stem_of
from fb_jax.errors import FreeBindError

YEARS = ("val2014", "train2014", "val2017", "train2017")


@dataclass(frozen=True)
class Image:
    """A picture in COCO's form."""

    id: int
    file_name: str


@dataclass(frozen=True)
class Annotation:
    """A caption in COCO's form."""

    image_id: int
    caption: str


@dataclass(frozen=True)
class Annotations:
    """A file in COCO's form."""

    images: list[Image]
    annotations: list[Annotation]


def read(root: Path, subset: str) -> Listing:
    """Read Karpathy's list, or one in COCO's form."""
    names = ("dataset_coco.json", f"coco_{subset}_karpathy.json")
    path = list_in(root, *(folder + name for name in names for folder in ("", "annotations/")))
    entries = _karpathy(path, subset) if path.name == names[0] else _coco(path)
    return Listing(path, entries)


def _karpathy(path: Path, subset: str) -> list[Entry]:
    return [
        _entry(_number(p, path), str(PurePosixPath(p.filepath, p.filename)), p.captions)
        for p in read_karpathy(path, "coco", subset)
    ]


def _number(picture: Picture, path: Path) -> int:
    if picture.cocoid is None:
        raise FreeBindError("a picture has no cocoid", where=path, got=picture.filename)
    return picture.cocoid


def _coco(path: Path) -> list[Entry]:
    found = files.read_json(path, Annotations)
    captions: dict[int, list[str]] = {image.id: [] for image in found.images}
    for annotation in found.annotations:
        captions.setdefault(annotation.image_id, []).append(annotation.caption.strip())
    return [_entry(image.id, image.file_name, captions[image.id]) for image in found.images]


def _entry(number: int, path: str, captions: Sequence[str]) -> Entry:
    """Return a picture; the COCO of 2017 holds the same pictures under the number alone."""
    stem = stem_of(path)
    return Entry(str(number), {"image": (stem, Path(stem).name, f"{number:012d}")}, captions)


COCO = DataSet(
    title="COCO 2014, Karpathy's splits",
    read=read,
    subsets={"test": 5000, "val": 5000, "train": 82783, "restval": 30504},
    folders={"image": ("", *YEARS, "images", *(f"images/{year}" for year in YEARS))},
    paper={"image": 5000},
    source="https://cocodataset.org and Karpathy's caption_datasets.zip",
    licence="annotations: CC BY 4.0 (unconfirmed); pictures: Flickr's terms",
    captions=5,
)
