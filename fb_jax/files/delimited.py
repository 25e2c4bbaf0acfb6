"""Tables in text files: ``.csv`` and ``.tsv``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from fb_jax.errors import FreeBindError
from fb_jax.files.reading import read_lines

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LONGEST_CELL = 10**9
"""Characters of a cell: a caption may be a book."""


def read_cells(path: Path, *, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line of a ``.csv`` or ``.tsv`` with its number; not of empty lines.

    A cell in double quotes may hold line feeds.

    Args:
        path: Of the table.
        errors: What to do with bytes that are not UTF-8; see ``read_lines``. With another value
            than ``strict``, a line whose quotes are wrong has no cells, and the others are read.

    Raises:
        FreeBindError: The file is missing, or a quote is never closed.
        csv.Error: The quotes of a line are wrong.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = read_lines(path, "a table", ends=True, errors=errors)
    reader = csv.reader(lines, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    began = 1
    while True:
        try:
            line = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise _never_closed(path, began) from error
            if errors == "strict":
                raise
            yield reader.line_num, []
        else:
            if line:
                yield reader.line_num, line
        began = reader.line_num + 1


def require_column_names(names: list[str], path: Path, what: str = "the first line") -> list[str]:
    """Return the names of columns, which ``what`` gives.

    Raises:
        FreeBindError: They cannot name columns.
    """
    if not names or len(set(names)) != len(names):
        raise FreeBindError(
            f"{what} does not name the columns",
            where=path,
            expected="a different name for each column",
            got=", ".join(names) or "nothing",
        )
    return names


def _never_closed(path: Path, line: int) -> FreeBindError:
    return FreeBindError(
        "a table cannot be read: a double quote is never closed",
        where=f"{path}, line {line}",
        expected='"" for a double quote inside a cell',
    )
