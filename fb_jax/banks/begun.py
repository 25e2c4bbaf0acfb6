"""The first rows of a shard that is not finished: kept by time, so that a stop loses minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once

WHAT = "the rows of a shard that was begun"


def keep(path: Path, rows: Shaped[np.ndarray, "r d"], note: Any) -> None:
    """Write rows and a note; after a kill those of before are there, or these."""
    files.write_recorded(path, rows, {"note": note})


def kept(path: Path, most: tuple[int, int]) -> tuple[Shaped[np.ndarray, "r d"], Any] | None:
    """Return rows and their note; None if there are none, or if they were altered.

    Args:
        path: Path of the ``.npy`` file.
        most: Rows and columns of the whole shard.
    """
    if not path.exists():
        return None
    try:
        about, rows = files.record_of(path, WHAT), files.read_npy(path, WHAT)
    except FreeBindError:
        about, rows = None, np.empty(0)
    if about is None or rows.shape[1:] != most[1:] or len(rows) > most[0]:
        notice_once(f"{path}: altered since it was written; its rows are computed again")
        forget(path)
        return None
    return rows, about.get("note")


def forget(path: Path) -> None:
    """Remove rows and their note."""
    for file in (path, path.with_suffix(".json")):
        file.unlink(missing_ok=True)
