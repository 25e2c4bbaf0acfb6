"""Import ``.npy`` and ``.safetensors`` matrices, and pair tables, into a bank root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer
from safetensors import safe_open

from fb_jax import files
from fb_jax.banks.bank import Bank, BankAbout, Encoder, bank_writer
from fb_jax.banks.directions import (
    find_all_bad_rows,
    refuse_bad_rows,
    require_matrix,
    unit_rows,
)
from fb_jax.banks.items import Item, ItemList, items_sha256, write_items
from fb_jax.banks.rows import Progress, Rows, blocks_of, no_progress
from fb_jax.banks.split import Split, check_pairs, pair_key, require_name
from fb_jax.errors import FreeBindError, notice_once

NUMBER = re.compile(r"[ \t]*-?[0-9]+[ \t]*")
PAIRS = "two columns of row numbers, separated by a comma, without a header"


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
    files.open_regular(path, "a matrix").close()
    if path.suffix not in (".npy", ".safetensors"):
        raise FreeBindError(
            "this kind of file cannot be imported", where=path, expected=".npy or .safetensors"
        )
    with files.explained("a matrix cannot be read", path):
        tensors = path.suffix == ".safetensors"
        matrix: Rows = _Tensor(path) if tensors else files.open_npy(path, "a matrix")
        require_matrix(matrix, path)
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
    matrix, folder = open_matrix(source), split.bank_path(space, modality)
    _require_same_dim(split, space, modality, matrix.shape[1])
    missing = _bad_rows(matrix, source, refuse=bad_rows == "refuse")
    about = BankAbout(
        space=space,
        modality=modality,
        encoder=encoder or Encoder(source.name),
        items_sha256=_items_for(split, modality, items, len(matrix)).digest,
        missing=missing,
        made_from=files.sha256_of(source),
    )
    count, dim = matrix.shape
    with bank_writer(folder, about, dim=dim, count=count, dtype=dtype) as writer:
        for start, block in blocks_of(matrix, writer.rows_done):
            writer.append(_storable(block, missing - start))
            progress(len(block))
    return Bank.open(folder)


def _require_same_dim(split: Split, space: str, modality: str, dim: int) -> None:
    """Raise a FreeBindError if the space has other dimensions in another modality of the split."""
    for other in split.spaces().get(space, []):
        there = Bank.open(split.bank_path(space, other)).shape[1]
        if other != modality and there != dim:
            raise FreeBindError(
                "the modalities of a space differ in dimension",
                where=split.bank_path(space, other),
                expected=f"{there} columns, as {other} has in {space}",
                got=f"{dim} columns",
                fix="they must come from one model; choose another --space for another model",
            )


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
    items = None if source is None else _read_items(Path(source))
    _require_count(count, path if items is None else items, source or path)
    if not path.exists():
        _require_known(split, modality, items)
    with split.writing():
        if items is None and not path.exists():
            items = [{"id": str(row)} for row in range(count)]
        written = ItemList(path) if items is None else write_items(path, items)
    _require_count(count, path, path)  # it may have come meanwhile
    return written


def _require_known(split: Split, modality: str, items: list[Item] | None) -> None:
    """Raise a FreeBindError if banks of the split record a list that is lost, and not this one."""
    owners = (space for space, owned in split.spaces().items() if modality in owned)
    wanted = {Bank.open(split.bank_path(space, modality)).items_sha256 for space in owners}
    if wanted and (items is None or items_sha256(items) not in wanted):
        raise FreeBindError(
            "the item list is lost, and banks of this split rely on it",
            where=split.items_path(modality),
            expected=f"a list with SHA-256 {', '.join(sorted(wanted))}",
            fix="restore it, or give the same list again with --items",
        )


def _require_count(count: int, items: list[Item] | Path, where: object) -> None:
    if isinstance(items, Path):
        found = len(ItemList(items)) if items.exists() else count
    else:
        found = len(items)
    if found != count:
        raise FreeBindError(
            "the matrix and the item list differ in length",
            where=where,
            expected=f"{found} rows, one for each item",
            got=f"{count} rows",
        )


def _read_items(source: Path) -> list[Item]:
    if source.suffix not in (".jsonl", ".txt"):
        raise FreeBindError(
            "this kind of item list cannot be read", where=source, expected=".jsonl or .txt"
        )
    if source.suffix == ".jsonl":
        items = ItemList(source)
        items.verify()
        return list(items)
    return [{"id": str(i), "caption": line} for i, line in enumerate(files.read_lines(source))]


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
    with files.explained(f"a pair table cannot be read: {PAIRS}", source):
        if source.suffix == ".npy":
            table = files.read_npy(source, "a pair table")
        else:
            cells = [line.split(",") for line in files.read_lines(source) if line.strip()]
            strange = [cell for line in cells for cell in line if not NUMBER.fullmatch(cell)]
            if strange:
                raise ValueError(f"{strange[0]!r} is no row number")
            table = np.array(cells, dtype=np.int64)
    check_pairs(table, [len(split.items(m)) for m in (left, right)], source)
    with split.writing():
        if (path := split.pairs_path(left, right)).exists():
            notice_once(f"{path}: replaces the table that was here")
        split.write_pairs(left, right, table)
        return split.read_pairs(*pair_key(left, right))
