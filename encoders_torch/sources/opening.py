"""Opens a source by its kind: a folder of media, a list, tars, a data set, or Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from encoders_torch.media import suffixes
from encoders_torch.sources import datasets, parquet, tars
from encoders_torch.sources.folder import FolderItems, find_media, say_unread, shards_in
from encoders_torch.sources.lists import LISTS
from encoders_torch.sources.options import PLAIN, SourceOptions
from encoders_torch.sources.source import Source
from encoders_torch.sources.table import TEXT, items_of
from fb_jax.banks.columns import NO_COLUMN
from fb_jax.errors import FreeBindError, notice_once

USUAL_SUFFIXES = (
    *(".jpg", ".png", ".webp", ".tif", ".gif"),
    *(".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4"),
)
SHOWN = 6
COMPRESSED = (".gz", ".tgz")

Open = Callable[[str, Path, SourceOptions], Source]


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        name: What it is, for messages.
        fits: Whether a path is one.
        open: Opens it for a modality.
        empty: What is wrong with one that has no items of any modality.
    """

    name: str
    fits: Callable[[Path], bool]
    open: Open
    empty: str | None = None


def _open_list(modality: str, path: Path, options: SourceOptions) -> Source:
    items = items_of(LISTS[path.suffix.lower()](path), modality, options)
    return Source(items, None if modality == TEXT else path.parent, options.media)


def _open_folder(modality: str, path: Path, options: SourceOptions) -> Source:
    """Open the media in a folder; if there are none, its tars or Parquet files."""
    none = FolderItems([]), Counter[str]()
    media, unread = none if modality == TEXT else find_media(modality, path)
    for suffix, open_all in {} if media.names else SHARDED.items():
        if shards_in(path, suffix):
            return open_all(modality, path, options)
    if modality == TEXT:
        raise _unknown(modality, path)
    say_unread(path, modality, unread)
    columns = {"--path-column": options.path_column, "--id-column": options.id_column}
    if unused := [name for name, column in columns.items() if column not in (None, NO_COLUMN)]:
        notice_once(f"{path}: a folder of files has no columns; not used: {', '.join(unused)}")
    return Source(media, path, options.media)


SHARDED: dict[str, Open] = {tars.SUFFIX: tars.open_tars, parquet.SUFFIX: parquet.open_parquet}


def _file(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in endings and not path.is_dir()


KINDS = (
    Kind(f"a list ({', '.join(LISTS)})", _file(*LISTS), _open_list, "a list has no rows"),
    Kind("tars of WebDataset (.tar, a-{000..123}.tar)", _file(tars.SUFFIX), tars.open_tars),
    Kind("Parquet", _file(parquet.SUFFIX), parquet.open_parquet, "a table has no rows"),
    Kind(
        "a Hugging Face data set on disk",
        datasets.is_dataset,
        datasets.open_dataset,
        "a data set has no rows",
    ),
    Kind("a folder", Path.is_dir, _open_folder),
)
"""The first that fits opens a source."""


def open_source(modality: str, path: Path | str, options: SourceOptions = PLAIN) -> Source:
    """Return the items of a source in its order; those of a folder in the order of their paths.

    Args:
        modality: ``text``, ``image``, ``audio``, or another (then every file of a folder counts).
        path: Of one of the ``KINDS``.
        options: How it is read.

    Raises:
        FreeBindError: It is missing, of another kind, or empty, or has no such column.
    """
    path = Path(path)
    kind = next((kind for kind in KINDS if kind.fits(path)), None)
    if kind is None:
        raise _unknown(modality, path)
    source = kind.open(modality, path, options)
    for _ in source.items:
        return replace(source, path=path)
    if kind.empty:
        raise FreeBindError(kind.empty, where=path)
    raise FreeBindError(f"there is no {modality} here", where=path, expected=_wanted(modality))


def _unknown(modality: str, path: Path) -> FreeBindError:
    what, fix = f"there is no such source of {modality}", None
    if path.is_file() and path.suffix.lower() in suffixes(modality):
        fix = "give the folder of this file, or a list that contains its path"
    elif path.is_file() and path.suffix.lower() in COMPRESSED:
        fix = f"gunzip it: {path.name} is compressed"
    return FreeBindError(what, where=path, expected=_wanted(modality), fix=fix)


def _wanted(modality: str) -> str:
    known = suffixes(modality)
    usual = [suffix for suffix in USUAL_SUFFIXES if suffix in known][:SHOWN]
    more = f" ({len(known) - len(usual)} more suffixes)" if len(known) > len(usual) else ""
    folder = f"a folder of {', '.join(usual)}{more}" if known else "a folder"
    if modality == TEXT:
        folder = "a folder of tars or Parquet files"
    return ", ".join([*(kind.name for kind in KINDS[:-1]), folder])
