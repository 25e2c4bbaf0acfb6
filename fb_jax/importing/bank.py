"""A bank from a matrix in a file of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    Progress,
    Rows,
    Split,
    bank_writer,
    no_progress,
    require_name,
    unit_rows,
)
from fb_jax.banks.directions import find_all_bad_rows, refuse_bad_rows
from fb_jax.banks.rows import blocks_of
from fb_jax.errors import FreeBindError
from fb_jax.importing.lists import items_for
from fb_jax.importing.matrices import open_matrix


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
        items_sha256=items_for(split, modality, items, len(matrix)).digest,
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
