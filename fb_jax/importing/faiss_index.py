"""A faiss index file whose vectors can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.extras import import_extra
from fb_jax.importing.source import Choice, Columns, ReadRows, Source

EXACT = ("Flat", "FlatL2", "FlatIP", "IVFFlat", "HNSWFlat", "NSGFlat", "RefineFlat")
LOSSY = ("PQ", "ScalarQuantizer", "IVFPQ", "IVFScalarQuantizer", "HNSWPQ", "HNSWSQ")
"""Kinds of indexes that keep vectors, and those that keep them rounded. With others faiss may end
the whole process: an exception in one of its threads cannot be caught."""

WITH_IDS = ("IDMap", "IDMap2")


class _Vectors(ReadRows):
    """The vectors of an index, read by slices."""

    def __init__(self, owner: Any, index: Any) -> None:
        self._owner, self._index = owner, index  # the index goes with its owner
        self.shape = (int(index.ntotal), int(index.d))

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not (count := rows.stop - rows.start):
            return np.empty((0, self.shape[1]), np.float32)
        return np.asarray(self._index.reconstruct_n(rows.start, count))


def open_faiss(path: Path, _choice: Choice) -> list[Source]:
    """Open an index file, mapped where faiss can map it.

    Raises:
        FreeBindError: It is damaged, or the vectors cannot be read back.
    """
    faiss = import_extra("faiss", "faiss")
    files.open_regular(path, "an index").close()
    owner = faiss.read_index(str(path), getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP))
    index, ids = faiss.downcast_index(owner), None
    if _kind(index) in WITH_IDS:
        ids = faiss.vector_to_array(index.id_map)
        index = faiss.downcast_index(index.index)
    kind = _kind(index)
    if kind not in EXACT + LOSSY:
        raise _refused(path, f"an index of kind {kind}")
    if kind.startswith("IVF"):
        _number(index, path)
    lossy = f"{kind} keeps vectors rounded: these are not the embeddings that were added"
    notes = (lossy,) if kind in LOSSY else ()
    columns = None if ids is None else _ids(path, ids)
    return [Source(path, f"a faiss index, {kind}", _Vectors(owner, index), columns, notes=notes)]


def _kind(index: Any) -> str:
    return type(index).__name__.removeprefix("Index")


def _number(index: Any, path: Path) -> None:
    """Make the map from row numbers to lists that an inverted file needs to read rows back."""
    try:
        index.make_direct_map()
        for row in {0, index.ntotal - 1} if index.ntotal else ():
            index.reconstruct(row)
    except RuntimeError as error:
        raise _refused(path, "ids of its own, which are not the numbers of the rows") from error


def _refused(path: Path, got: str) -> FreeBindError:
    return FreeBindError(
        "the vectors of this index cannot be read back",
        where=path,
        expected=f"one of the kinds {', '.join(EXACT)}, or rounded: {', '.join(LOSSY)}",
        got=got,
        fix="import the embeddings that the index was made from",
    )


def _ids(path: Path, ids: np.ndarray) -> Columns:
    def rows(_names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        return ({"id": int(number)} for number in ids)

    return Columns(path, {"id": "int64"}, rows)
