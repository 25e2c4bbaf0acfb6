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
from fb_jax.errors import FreeBindError

Open = Callable[[str, Path, SourceOptions], Source]


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        name: What it is, for messages.
        fits: Whether a path is one.
        open: Opens it for a modality.
    """

    name: str
    fits: Callable[[Path], bool]
    open: Open


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
    return Source(media, path, options.media)


SHARDED: dict[str, Open] = {tars.SUFFIX: tars.open_tars, parquet.SUFFIX: parquet.open_parquet}


def _file(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in endings and not path.is_dir()


KINDS = (
    Kind(f"a list ({', '.join(LISTS)})", _file(*LISTS), _open_list),
    Kind("tars of WebDataset (.tar, a-{000..123}.tar)", _file(tars.SUFFIX), tars.open_tars),
    Kind("Parquet", _file(parquet.SUFFIX), parquet.open_parquet),
    Kind("a Hugging Face data set on disk", datasets.is_dataset, datasets.open_dataset),
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
    raise FreeBindError(f"there is no {modality} here", where=path, expected=_wanted(modality))


def _unknown(modality: str, path: Path) -> FreeBindError:
    what = f"there is no such source of {modality}"
    return FreeBindError(what, where=path, expected=_wanted(modality))


def _wanted(modality: str) -> str:
    known = ", ".join(sorted(suffixes(modality)))
    folder = "a folder of tars or Parquet files" if modality == TEXT else f"a folder of {known}"
    return ", ".join(
        [*(kind.name for kind in KINDS[:-1]), folder if known or modality == TEXT else "a folder"]
    )
