"""Finds the media of a list on the disk: what is there, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fb_jax.banks.items import Item
from fb_jax.datasets.dataset import DataSet, Entry
from fb_jax.datasets.disk import SUFFIXES, VIDEO, Disk
from fb_jax.errors import FreeBindError, notice_once


class Found(NamedTuple):
    """An item that is on the disk.

    Attributes:
        entry: What the list says of it.
        paths: Modality to its file, relative to the folder of the data set.
    """

    entry: Entry
    paths: dict[str, str]


def find_media(
    dataset: DataSet, entries: Sequence[Entry], subset: str, root: Path
) -> tuple[list[Found], list[Item]]:
    """Return the items all of whose files are on the disk, and the files that are missing.

    Args:
        dataset: The data set.
        entries: Items of its list.
        subset: The subset they are of.
        root: Folder of the media.

    Returns:
        The items in the order of the list, and of each missing file the item's id, its modality,
        and the path that it usually has.

    Raises:
        FreeBindError: No item is there.
    """
    folders = {m: [name.format(subset=subset) for name in f] for m, f in dataset.folders.items()}
    suffixes = {m: SUFFIXES[m] for m in folders}
    if dataset.frame_at is not None:
        suffixes["image"] += VIDEO
    disk, here, missing = Disk(root), list[Found](), list[Item]()
    for entry in entries:
        files = {m: disk.find(folders[m], entry.names[m], suffixes[m]) for m in folders}
        paths = {m: path for m, path in files.items() if path is not None}
        missing += [_missing(entry, m, folders[m][0]) for m in folders if m not in paths]
        if len(paths) == len(files):
            here.append(Found(entry, paths))
    if not here:
        raise FreeBindError(
            "no item of the list has its media on the disk",
            where=root.absolute(),
            expected=f"files such as {missing[0]['path']}" if missing else "a list with items",
            fix="name the folder of the media with --root, or link them into it",
        )
    _say_dashes(missing)
    return here, missing


def _missing(entry: Entry, modality: str, folder: str) -> Item:
    usual = PurePosixPath(folder, entry.names[modality][0] + SUFFIXES[modality][0])
    return {"id": entry.id, "modality": modality, "path": str(usual)}


def _say_dashes(missing: list[Item]) -> None:
    """Say that ids which begin with ``-`` are missing: a downloader may take one for an option."""
    if dashes := {item["id"] for item in missing if item["id"].startswith("-")}:
        notice_once(
            f"{len(dashes)} of the missing ids begin with -, such as {min(dashes)}: a downloader "
            "may have taken them for options; give it whole addresses"
        )
