"""Import ``.npy`` and ``.safetensors`` matrices, and pair tables, into a bank root."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer
from numpy.lib.format import open_memmap
from safetensors import SafetensorError, safe_open

from fb_jax import files
from fb_jax.banks.bank import Bank, Encoder, bank_writer
from fb_jax.banks.directions import (
    find_all_bad_rows,
    refuse_bad_rows,
    require_matrix,
    unit_rows,
)
from fb_jax.banks.items import Item, ItemList, write_items
from fb_jax.banks.rows import Progress, Rows, blocks_of, no_progress
from fb_jax.banks.split import Split, check_pairs, in_order, require_name
from fb_jax.banks.writers import ShardWriter
from fb_jax.errors import FreeBindError


class _Tensor:
    """One matrix of a safetensors file, read by slices."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            if len(names) != 1:
                raise FreeBindError(
                    "a safetensors file must hold one matrix",
                    where=path,
                    got=f"{len(names)} tensors: {', '.join(names[:8])}",
                    fix="save the matrix alone",
                )
            self.path, self.name = path, names[0]
            self.shape: tuple[int, ...] = tuple(file.get_slice(self.name).get_shape())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))  # safetensors does not clip
        with safe_open(self.path, framework="np") as file:
            return np.asarray(file.get_slice(self.name)[start:stop])


def open_matrix(path: Path | str) -> Rows:
    """Open a matrix ``[n, d]`` of floats without reading it.

    Raises:
        FreeBindError: The file is missing or damaged, has another format, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FreeBindError("there is no such file", where=path)
    if path.suffix not in (".npy", ".safetensors"):
        raise FreeBindError(
            "this kind of file cannot be imported", where=path, expected=".npy or .safetensors"
        )
    try:
        matrix: Rows = (
            _Tensor(path) if path.suffix == ".safetensors" else open_memmap(path, mode="r")
        )
        require_matrix(matrix, path)
    except (ValueError, TypeError, EOFError, OSError, SafetensorError) as error:
        raise FreeBindError("a matrix cannot be read", where=path, got=error) from error
    return matrix


def import_bank(
    split: Split,
    space: str,
    modality: str,
    source: Path | str,
    *,
    items: Path | str | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    encoder: Encoder | None = None,
    bad_rows: Literal["refuse", "missing"] = "refuse",
    progress: Progress = no_progress,
) -> Bank:
    """Make a bank from a matrix on disk.

    Args:
        split: Split of the bank; its folder need not exist.
        space: Name of the space.
        modality: Name of the modality.
        source: ``.npy`` or ``.safetensors``, ``[n, d]`` floats of any norm.
        items: The item list: ``.jsonl`` (objects with an "id") or ``.txt`` (a caption a line).
            None takes the list that the split has; if it has none, the rows are numbered.
        dtype: How to store the rows.
        encoder: The model that computed the embeddings; None names the file.
        bad_rows: Refuse NaN, infinite and zero rows, or list them as missing.
        progress: Called with the number of rows just written.

    Raises:
        FreeBindError: The matrix or the items cannot be used; their numbers differ; rows are bad.
    """
    source = Path(source)
    for kind, name in (("split", split.name), ("space", space), ("modality", modality)):
        require_name(kind, name)
    matrix = open_matrix(source)
    missing = _bad_rows(matrix, source, refuse=bad_rows == "refuse")
    writer = bank_writer(
        split.bank_path(space, modality),
        dim=matrix.shape[1],
        count=len(matrix),
        dtype=dtype,
        space=space,
        modality=modality,
        items_sha256=_items_for(split, modality, items, len(matrix)).digest,
        encoder=encoder or Encoder(source.name),
        missing=missing.tolist(),
        made_from=files.sha256_of(source),
    )
    _copy(matrix, missing, writer, progress)
    return Bank.open(writer.folder)


def _copy(
    matrix: Rows, missing: Integer[np.ndarray, " m"], writer: ShardWriter, progress: Progress
) -> None:
    for start, block in blocks_of(matrix, writer.rows_done):
        writer.append(_storable(block, missing - start))
        progress(len(block))
    writer.close()


def _bad_rows(matrix: Rows, source: Path, *, refuse: bool) -> Integer[np.ndarray, " m"]:
    found = find_all_bad_rows(blocks_of(matrix))
    if refuse:
        refuse_bad_rows("a matrix", source, found, "correct them, or use --bad-rows missing")
    return np.sort(np.concatenate(list(found.values())))


def _storable(block: np.ndarray, missing: Integer[np.ndarray, " m"]) -> np.ndarray:
    """Return a block ``[r, d]`` as unit rows, which float16 can hold; missing ones as zeros."""
    block = np.array(block)
    block[missing[(missing >= 0) & (missing < len(block))]] = 0
    return unit_rows(block)


def _items_for(split: Split, modality: str, source: Path | str | None, count: int) -> ItemList:
    path = split.items_path(modality)
    if source is not None:
        items = _read_items(Path(source))
    elif path.exists():
        items = None
    else:
        items = [{"id": str(row)} for row in range(count)]
    found = len(ItemList(path)) if items is None else len(items)
    if found != count:
        raise FreeBindError(
            "the matrix and the item list differ in length",
            where=source or path,
            expected=f"{found} rows, one for each item",
            got=f"{count} rows",
        )
    return ItemList(path) if items is None else write_items(path, items)


def _read_items(source: Path) -> list[Item]:
    if source.suffix not in (".jsonl", ".txt"):
        raise FreeBindError(
            "this kind of item list cannot be read", where=source, expected=".jsonl or .txt"
        )
    items = ItemList(source)
    if source.suffix == ".jsonl":
        items.verify()
        return list(items)
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FreeBindError("an item list is not UTF-8", where=source, got=error) from error
    return [{"id": str(row), "caption": line} for row, line in enumerate(lines)]


def import_pairs(
    split: Split, left: str, right: str, source: Path | str
) -> Integer[np.ndarray, "p 2"]:
    """Store which rows of two modalities belong together.

    Args:
        split: A split with item lists of both modalities.
        left: Modality of the first column.
        right: Modality of the second column; ``class`` for labels.
        source: ``.npy`` or ``.csv`` (two integers a line), ``[p, 2]`` row numbers from 0.

    Returns:
        The table as stored: columns in alphabetical order of the modalities.

    Raises:
        FreeBindError: The table cannot be read, or has a row number past an item list.
    """
    source = Path(source)
    if not source.is_file():
        raise FreeBindError("there is no such file", where=source)
    try:
        if source.suffix == ".npy":
            table = np.load(source, allow_pickle=False)
        else:
            lines = source.read_text().split("\n")
            table = np.array([line.split(",") for line in lines if line.strip()], dtype=np.int64)
    except (ValueError, EOFError, OSError) as error:
        raise FreeBindError(
            "a pair table cannot be read",
            where=source,
            expected="two columns of row numbers, separated by a comma, without a header",
            got=error,
        ) from error
    check_pairs(table, [len(split.items(m)) for m in (left, right)], source)
    table = in_order((left, right), table.astype(np.int64))
    files.write_npy(split.pairs_path(left, right), table)
    return table
