"""Finding and reading official lists; whatever is wrong with one is a FreeBindError."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fb_jax import files
from fb_jax.errors import FreeBindError

PAGE = "docs/datasets.md says where the list comes from"


def list_in(root: Path, *names: str) -> Path:
    """Return the first of some files that is below a folder.

    Raises:
        FreeBindError: None is.
    """
    found = first_in(root, *names)
    if found is None:
        raise FreeBindError(
            "the list of the data set is missing",
            where=root.absolute(),
            expected=" or ".join(names),
            fix=f"name its folder with --root; {PAGE}",
        )
    return found


def first_in(root: Path, *names: str) -> Path | None:
    """Return the first of some files and folders that is below a folder, if any."""
    return next((root / name for name in names if (root / name).exists()), None)


def read_rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``.csv`` whose first line names its columns.

    Args:
        path: Of the list.
        columns: Columns that it must have; others may be there.

    Raises:
        FreeBindError: It is damaged, or its first line does not name these columns.
    """
    with files.explained("a list cannot be read", path):
        lines = files.read_cells(path)
        names = [name.strip() for name in next(lines, (1, [""]))[1]]
        if not set(columns) <= set(names):
            raise FreeBindError(
                "this is another list, another version of it, or its first line is gone",
                where=path,
                expected=f"columns {', '.join(columns)}",
                got=", ".join(names),
                fix=f"take the list as published; {PAGE}",
            )
        for number, cells in lines:
            require_cells(cells, len(names), f"{path}, line {number}")
            yield dict(zip(names, (cell.strip() for cell in cells), strict=True))


def require_cells(cells: list[str], count: int, where: str) -> None:
    """Raise a FreeBindError unless a line has as many cells as there are columns."""
    if len(cells) != count:
        raise FreeBindError(
            "a line of a list has another number of cells",
            where=where,
            expected=count,
            got=len(cells),
            fix=f"take the list as published; {PAGE}",
        )


def stem_of(name: str) -> str:
    """Return a name of a file without its suffix; a name may hold other dots."""
    return name.rpartition(".")[0] or name
