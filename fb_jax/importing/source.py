"""What is imported: a matrix, and columns beside it that say what its rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fb_jax import files
from fb_jax.banks import Rows
from fb_jax.errors import FreeBindError, unknown


@contextmanager
def reading(what: str, where: object) -> Iterator[None]:
    """Turn any exception of a library into a FreeBindError.

    Also too little memory: a damaged table can claim vectors of any length.
    """
    try:
        with files.explained(what, where):
            yield
    except MemoryError as error:
        fix = "it is damaged, or needs more memory"
        raise FreeBindError(what, where=where, got=error, fix=fix) from error


@dataclass(frozen=True)
class Choice:
    """Which matrix of a source to take.

    Attributes:
        key: Name of the array in an .npz, .safetensors or .pt file, or of the split in a folder of
            Hugging Face datasets.
        column: Column of the vectors in a table.
        read_as: Type of the numbers in a .npy or .npz file whose header does not name it: NumPy
            stores bfloat16 as two nameless bytes.
    """

    key: str | None = None
    column: str | None = None
    read_as: Literal["bfloat16"] | None = None


@dataclass(frozen=True)
class Columns:
    """Columns of a table, read row by row.

    Attributes:
        where: The file or folder, for messages.
        types: Column to the type of its values, as text.
        read: Returns the rows of some columns, each as column to value, from the first one.
        whole: Items keep all the columns, not only those that are chosen.
    """

    where: Path
    types: Mapping[str, str]
    read: Callable[[tuple[str, ...]], Iterator[dict[str, Any]]]
    whole: bool = False

    def rows(self, *names: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of some columns; an exception of a library becomes a FreeBindError."""
        with reading("a table cannot be read", self.where):
            yield from self.read(names)


@dataclass(frozen=True)
class Source:
    """An opened source of rows.

    Attributes:
        path: The file or folder.
        kind: What it is, for people.
        matrix: The rows ``[n, d]``, read by slices.
        columns: What it knows of its rows.
        modality: Modality of the rows, if the source says it.
        notes: What was chosen without being asked for, a line each.
    """

    path: Path
    kind: str
    matrix: Rows
    columns: Columns | None = None
    modality: str | None = None
    notes: tuple[str, ...] = ()


class ReadRows:
    """Base class of what reads rows: their number is in the shape."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]


class Guarded(ReadRows):
    """Rows whose reader may raise what it likes, and need not know every slice.

    What it raises becomes a FreeBindError. It gets slices of some rows that it has, or 0 to 0.
    A step is refused.
    """

    def __init__(self, rows: Rows, path: Path) -> None:
        self._rows, self._path, self.shape = rows, path, tuple(rows.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        if rows.step not in (None, 1):
            got, expected = f"a step of {rows.step}", "rows[start:stop]"
            raise FreeBindError(
                "rows of a source are read without a step",
                where=self._path,
                expected=expected,
                got=got,
            )
        start, stop, _ = rows.indices(len(self))
        start, stop = (start, stop) if start < stop else (0, 0)
        with reading("a matrix cannot be read", self._path):
            return self._rows[start:stop]


Form = tuple[tuple[int, ...], str]
"""Shape and dtype of an array in a file, as text: ``float32``, ``bfloat16``, ``int64``."""


def pick_matrix(path: Path, forms: Mapping[str, Form], key: str | None) -> str:
    """Return the name of the one matrix of floats in a file, or the one that was asked for.

    Raises:
        FreeBindError: There are several or none, or no array has the name.
    """
    shown = {name: f"{list(shape)} {dtype}" for name, (shape, dtype) in forms.items()}
    fit = [n for n, (shape, dtype) in forms.items() if len(shape) == 2 and "float" in dtype]
    return pick("matrix", path, shown, fit, key, "--key")


def chosen_note(name: str, forms: Mapping[str, Form]) -> tuple[str, ...]:
    """Return the note about the array that was taken, if the file has others."""
    return (f"matrix: `{name}`",) if len(forms) > 1 else ()


def pick(
    what: str,
    path: Path,
    known: Mapping[str, str],
    fit: list[str],
    asked: str | None,
    option: str,
) -> str:
    """Return the name that was asked for, or the only one that fits.

    Args:
        what: It names, for messages.
        path: Of the source.
        known: All names, with what they stand for.
        fit: Those that could be meant.
        asked: The name that was asked for.
        option: That asks for one.

    Raises:
        FreeBindError: There is no such name, or not exactly one fits.
    """
    if asked is not None and asked not in known:
        raise unknown(what, asked, known, path)
    if asked is None and len(fit) != 1:
        listed = ", ".join(f"{name} {known[name]}" for name in fit or known)
        raise FreeBindError(
            f"several could be the {what}" if fit else f"there is no {what} here",
            where=path,
            expected=f"one of them, by {option}" if fit else "[n, d] floats",
            got=listed or "nothing",
            fix=f"name it: {option} {fit[0]}" if fit else None,
        )
    return asked if asked is not None else fit[0]
