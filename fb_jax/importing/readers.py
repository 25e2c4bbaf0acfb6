"""Readers of sources: how each kind is recognised, and how it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fb_jax import files
from fb_jax.banks import Rows
from fb_jax.banks.directions import require_matrix
from fb_jax.errors import FreeBindError, unknown
from fb_jax.importing.clip_retrieval import is_clip_retrieval, open_clip_retrieval
from fb_jax.importing.databases import open_dataset, open_lance
from fb_jax.importing.faiss_index import open_faiss
from fb_jax.importing.numpy_files import open_npy, open_npz, open_numbered
from fb_jax.importing.source import Choice, Guarded, Source, reading
from fb_jax.importing.table_files import ARROW, PARQUET, open_tables, table_paths
from fb_jax.importing.tensors import open_safetensors, open_torch

FAISS_START = re.compile(rb"I[xwHN][A-Za-z0-9]{2}")


class Reader(NamedTuple):
    """A kind of source.

    Attributes:
        name: What it is, for messages.
        fits: Whether a file or folder is one, judged by its name and what it holds.
        open: Opens it: one source, or one for each modality.
        takes: The choices that it has.
    """

    name: str
    fits: Callable[[Path], bool]
    open: Callable[[Path, Choice], list[Source]]
    takes: tuple[str, ...] = ()


def _file(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes and not path.is_dir()


def _folder(fits: Callable[[Path], bool]) -> Callable[[Path], bool]:
    return lambda path: path.is_dir() and fits(path)


def _is_dataset(path: Path) -> bool:
    return any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _is_faiss(path: Path) -> bool:
    if not path.is_file():
        return False
    with files.open_regular(path) as file:
        return FAISS_START.fullmatch(file.read(4)) is not None


def _is_lance(path: Path) -> bool:
    return path.suffix == ".lance"


def _has_tables(path: Path) -> bool:
    return bool(table_paths(path))


def _has_arrays(path: Path) -> bool:
    return any(path.glob("*.npy"))


READERS = (
    Reader(".npy", _file(".npy"), open_npy, ("read_as",)),
    Reader(".npz", _file(".npz"), open_npz, ("key", "read_as")),
    Reader(".safetensors", _file(".safetensors"), open_safetensors, ("key",)),
    Reader(".pt, .pth", _file(".pt", ".pth"), open_torch, ("key",)),
    Reader(".parquet, .arrow, .feather", _file(*PARQUET, *ARROW), open_tables, ("column",)),
    Reader("a LanceDB table NAME.lance", _folder(_is_lance), open_lance, ("column",)),
    Reader("a Hugging Face dataset", _folder(_is_dataset), open_dataset, ("key", "column")),
    Reader("a folder of clip-retrieval", _folder(is_clip_retrieval), open_clip_retrieval),
    Reader("a folder of tables", _folder(_has_tables), open_tables, ("column",)),
    Reader("a folder of numbered .npy", _folder(_has_arrays), open_numbered, ("read_as",)),
    Reader("a faiss index", _is_faiss, open_faiss),
)
"""The first that fits opens a source."""


def open_sources(path: Path | str, choice: Choice | None = None) -> list[Source]:
    """Open what a file or folder holds, without reading it whole.

    Args:
        path: Of the source.
        choice: Which matrix of it.

    Returns:
        One source, or one for each modality of a kind that names them.

    Raises:
        FreeBindError: It is missing, of no known kind, damaged, or holds no matrix of floats.
    """
    path = Path(path)
    if not path.is_dir():
        fix = "name a file or folder of embeddings that exists"
        files.open_regular(path, "a matrix", fix=fix).close()
    choice = choice or Choice()
    reader = _reader_for(path, choice)
    with reading("a matrix cannot be read", path):
        return [_guarded(source) for source in reader.open(path, choice)]


def _reader_for(path: Path, choice: Choice) -> Reader:
    reader = next((reader for reader in READERS if reader.fits(path)), None)
    if reader is None:
        kinds = ", ".join(reader.name for reader in READERS)
        raise FreeBindError("this cannot be imported", where=path, expected=kinds)
    for name, value in vars(choice).items():
        if value is not None and name not in reader.takes:
            option = f"--{name.replace('_', '-')}"
            raise FreeBindError(f"{reader.name} has no {option}", where=path, got=value)
    return reader


def _guarded(source: Source) -> Source:
    guarded = Guarded(source.matrix, source.path)
    require_matrix(guarded, source.path)
    return replace(source, matrix=guarded)


def open_source(
    path: Path | str, modality: str | None = None, choice: Choice | None = None
) -> Source:
    """Open the source of one modality; see ``open_sources``."""
    return of_modality(open_sources(path, choice), modality)[0]


def of_modality(sources: list[Source], modality: str | None) -> list[Source]:
    """Return sources of which each knows its modality: the one that is named, or all.

    Raises:
        FreeBindError: No modality is named and the source does not say it, or it has others.
    """
    known = {source.modality: source for source in sources}
    if None in known:
        if modality is None:
            raise FreeBindError(
                "this source does not say what its rows are",
                where=sources[0].path,
                fix="name the modality, such as --modality text",
            )
        return [replace(known[None], modality=modality)]
    if modality is None:
        return sources
    if modality not in known:
        raise unknown("modality", modality, map(str, known), sources[0].path)
    return [known[modality]]


def open_matrix(path: Path | str) -> Rows:
    """Open a matrix ``[n, d]`` of floats without reading it.

    Raises:
        FreeBindError: See ``open_sources``.
    """
    sources = open_sources(path)
    if len(sources) > 1:
        raise FreeBindError("one matrix is needed", where=path, got=f"{len(sources)} matrices")
    return sources[0].matrix
