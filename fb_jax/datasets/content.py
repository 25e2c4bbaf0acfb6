"""Reads a data set: its list, the disk, templates and names of classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.banks.items import Item
from fb_jax.datasets.dataset import DataSet, Listing
from fb_jax.datasets.disk import VIDEO
from fb_jax.datasets.finding import find_media
from fb_jax.datasets.prompts import class_names, templates_of
from fb_jax.datasets.registry import named
from fb_jax.datasets.tables import Tables, add_classes, tables_of
from fb_jax.errors import FreeBindError, notice_once, require_range, unknown

MOST_CAPTIONS = 1000


@dataclass(frozen=True)
class Choice:
    """What is taken of a data set.

    Attributes:
        subset: Official subset. The paper's if not given.
        captions: Most captions of an item, in the order of the list; 0 takes all. If not given, the
            first five of COCO, as papers on CLIP take them, and all of the others.
        templates: Templates of the prompts: clip (the 80 of ImageNet), laion (This is a sound of
            {c}.), authors (an audio of {c}), a file with one in each line, or a text that holds
            {c}. If not given, clip for ImageNet and laion for sounds.
        class_names: Names of the classes: list (those of the data set), open_clip (those that the
            authors of CLIP gave ImageNet), or a file with one in each line. If not given, open_clip
            for ImageNet and list for the others.
    """

    subset: str | None = None
    captions: int | None = None
    templates: tuple[str, ...] = ()
    class_names: str | None = None


DEFAULTS = Choice()


@dataclass(frozen=True)
class Content:
    """What a split of a data set holds.

    Attributes:
        tables: Its items and pairs.
        missing: Files that are not on the disk: see ``find_media``.
        about: What ``dataset.json`` says.
    """

    tables: Tables
    missing: list[Item]
    about: dict[str, Any]


def read_content(name: str, root: Path, choice: Choice = DEFAULTS) -> Content:
    """Read the list of a data set, and find its media on the disk.

    If a file of an item is missing, the item is left out with its captions, and listed.

    Args:
        name: Of the data set.
        root: Folder with the official list and the media.
        choice: What is taken of it.

    Raises:
        FreeBindError: The list is missing, damaged or of another version; nothing of it is on the
            disk; or a template or name of a class cannot be read.
    """
    dataset = named(name)
    subset, captions = _subset(name, dataset, choice), _captions(dataset, choice)
    listing = _listing(dataset, root, subset)
    classes, templates, source = _classes(dataset, listing, choice)
    here, missing = find_media(dataset, listing.entries, subset, root)
    tables = tables_of(here, captions)
    if classes:
        add_classes(tables, here, classes, templates)
    about = {
        "dataset": name,
        "version": dataset.title,
        "subset": subset,
        "source": dataset.source,
        "licence": dataset.licence,
        "list": _described(listing.path),
        "captions": captions,
        "templates": templates,
        "class_names": source,
        "frame_at": _frame_at(dataset, tables),
        "counts": {
            "listed": _listed(listing),
            "here": {modality: len(items) for modality, items in tables.items.items()},
            "paper": dict(dataset.paper) if subset == dataset.default else {},
        },
    }
    return Content(tables, missing, about)


def _subset(name: str, dataset: DataSet, choice: Choice) -> str:
    subset = choice.subset or dataset.default
    if subset not in dataset.subsets:
        raise unknown("subset", subset, dataset.subsets, name)
    return subset


def _captions(dataset: DataSet, choice: Choice) -> int:
    most = dataset.captions if choice.captions is None else choice.captions
    require_range("data set:", 0, MOST_CAPTIONS, captions=most)
    return most


def _listing(dataset: DataSet, root: Path, subset: str) -> Listing:
    """Return the list of a subset; say what is odd about it: its length, or empty captions."""
    listing = dataset.read(root, subset)
    counts = Counter(entry.id for entry in listing.entries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise FreeBindError("a list has an item twice", where=listing.path, got=twice[0])
    if len(counts) != (official := dataset.subsets[subset]):
        notice_once(
            f"{listing.path}: {len(counts)} items, but the official list of {subset} has "
            f"{official}: another version?"
        )
    if empty := [entry.id for entry in listing.entries if not all(entry.captions)]:
        notice_once(f"{listing.path}: {len(empty)} items have an empty caption, such as {empty[0]}")
    return listing


def _classes(
    dataset: DataSet, listing: Listing, choice: Choice
) -> tuple[dict[str, str], list[str], str | None]:
    """Return id to name of the classes, the templates, and where the names come from.

    Raises:
        FreeBindError: There are no classes, but templates or names were asked for.
    """
    if listing.classes:
        source = choice.class_names or dataset.class_names
        names = dict(zip(listing.classes, class_names(listing, source), strict=True))
        templates = templates_of(choice.templates or dataset.templates)
        return names, list(templates), Path(source).name
    if choice.templates or choice.class_names:
        fix = "leave out --templates and --class-names"
        raise FreeBindError(f"{dataset.title} has no classes", fix=fix)
    return {}, [], None


def _described(path: Path) -> dict[str, Any]:
    """Return name and digest of a list; a folder that stands for one has no digest."""
    return {"name": path.name, "sha256": files.sha256_of(path) if path.is_file() else None}


def _frame_at(dataset: DataSet, tables: Tables) -> float | None:
    """Return the second of a frame, if a picture is taken from a video."""
    pictures = tables.items.get("image", [])
    return dataset.frame_at if any(p["path"].lower().endswith(VIDEO) for p in pictures) else None


def _listed(listing: Listing) -> dict[str, int]:
    """Return how many media, captions and classes a list has."""
    media = dict.fromkeys(listing.entries[0].names, len(listing.entries))
    captions = sum(len(entry.captions) for entry in listing.entries)
    counts = {**media, "text": captions, "class": len(listing.classes)}
    return {name: count for name, count in counts.items() if count}
