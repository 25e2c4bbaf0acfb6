"""Karpathy's splits of COCO and Flickr30k: ``dataset_coco.json`` and ``dataset_flickr30k.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fb_jax import files
from fb_jax.datasets.lists import PAGE
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class Sentence:
    """A caption; ``raw`` is the text as it was written."""

    raw: str


@dataclass(frozen=True)
class Picture:
    """A picture of the list.

    Attributes:
        filename: Name of its file.
        split: Its subset.
        sentences: Its captions.
        filepath: Its folder; COCO alone has one.
        cocoid: Its id in COCO.
    """

    filename: str
    split: str
    sentences: list[Sentence]
    filepath: str = ""
    cocoid: int | None = None

    @property
    def captions(self) -> list[str]:
        """Its captions, without spaces around them."""
        return [sentence.raw.strip() for sentence in self.sentences]


@dataclass(frozen=True)
class Karpathy:
    """The whole list."""

    images: list[Picture]
    dataset: str


def read_karpathy(path: Path, dataset: str, subset: str) -> list[Picture]:
    """Return the pictures of a subset.

    Raises:
        FreeBindError: The list is damaged, or of another data set.
    """
    what, fix = "this is no list of Karpathy's splits", f"take the list as published; {PAGE}"
    whole = files.convert(files.read_json(path), Karpathy, path, what, fix)
    if whole.dataset != dataset:
        raise FreeBindError(
            "this list is of another data set", where=path, expected=dataset, got=whole.dataset
        )
    return [picture for picture in whole.images if picture.split == subset]
