"""Pair tables in files of other programs: rows of two modalities that belong together."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks import Split
from fb_jax.banks.split import check_pairs, pair_key
from fb_jax.errors import notice_once

NUMBER = re.compile(r"[ \t]*-?[0-9]+[ \t]*")
PAIRS = "two columns of row numbers, separated by a comma, without a header"


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
