"""Exports of banks: a folder that another program reads, and ``export.json``.

OUT/export.json    what the vectors are computed from, with licences and counts
OUT/...            the files of the program; docs/interop has a page for each
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fb_jax import files
from fb_jax.banks import Progress, no_progress
from fb_jax.errors import FreeBindError, unknown
from fb_jax.extras import import_extra
from fb_jax.interop.contents import Batch, Contents

RECORD = "export.json"
EXACT_ROWS = 100_000
"""Number of items above which a program that has an approximate index gets one by default."""

Index = Literal["auto", "exact", "approximate"]

Write = Callable[[Path, Contents, Iterator[Batch], bool], object]
"""Writes an export: an empty folder, what the export holds, its batches, and whether the index is
exact. The module of every program has such a function, ``write``."""


class Program(NamedTuple):
    """A program that exports are written for; its module here and its extra have the same name.

    Attributes:
        packages: Packages that write its files.
        file: File or folder with the vectors.
        approximate: Whether it can have an approximate index.
    """

    packages: tuple[str, ...]
    file: str
    approximate: bool = False


PROGRAMS = {
    "parquet": Program(("pyarrow",), "items.parquet"),
    "lancedb": Program(("lancedb", "pyarrow"), "items.lance", approximate=True),
    "faiss": Program(("faiss",), "items.faiss", approximate=True),
    "qdrant": Program(("qdrant_client",), "collection"),
    "duckdb": Program(("duckdb", "pyarrow"), "items.duckdb"),
}


def writer_for(program: str) -> Write:
    """Return the function that writes exports for a program.

    Raises:
        FreeBindError: There is no such program here, or its packages are not installed.
    """
    if program not in PROGRAMS:
        raise unknown("program to export to", program, PROGRAMS)
    for package in PROGRAMS[program].packages:
        import_extra(package, program)
    write: Write = import_module(f"fb_jax.interop.{program}").write
    return write


def is_exact(program: str, index: Index, count: int) -> bool:
    """Return whether an export has an exact index.

    Raises:
        FreeBindError: The program has no approximate one.
    """
    approximate = PROGRAMS[program].approximate
    if index == "approximate" and not approximate:
        able = [name for name, known in PROGRAMS.items() if known.approximate]
        raise FreeBindError(
            f"an export to {program} has no approximate index",
            expected=f"--index exact, or --to {' or '.join(able)}",
        )
    return index == "exact" or not approximate or (index == "auto" and count <= EXACT_ROWS)


def write_export(
    contents: Contents,
    program: str,
    out: Path | str,
    *,
    index: Index = "auto",
    progress: Progress = no_progress,
) -> bool:
    """Write an export; the folder appears complete or not at all.

    Args:
        contents: What it holds.
        program: One of ``PROGRAMS``.
        out: Folder to create.
        index: Exact or approximate; auto: exact up to ``EXACT_ROWS`` items.
        progress: Called with the number of items just written.

    Returns:
        Whether it was written; False if the folder holds this very export already.

    Raises:
        FreeBindError: The folder holds something else, there is too little room, or the program
            cannot write.
    """
    write, out = writer_for(program), Path(out)
    exact = is_exact(program, index, len(contents))
    about = {
        **{"format": "freebind-export", "version": 1, "program": program},
        **{"index": "exact" if exact else "approximate", **contents.about()},
    }
    if _is_there(out, about):
        return False
    files.require_writable(out)
    files.require_space({out: 4 * len(contents) * contents.dim})

    def fill(folder: Path) -> None:
        progress(0)  # a reporter takes the first number for what was done before
        with files.explained(f"{program} could not write an export", out):
            write(folder, contents, contents.batches(progress), exact)
        files.write_json(folder / RECORD, about)

    files.write_folder(out, fill, "an export")
    return True


def _is_there(out: Path, about: dict[str, Any]) -> bool:
    """Return whether a folder holds this very export; raise a FreeBindError for anything else."""
    files.require_no_file(out)
    if (out / RECORD).exists():
        files.require_claim(out / RECORD, about, "items")
        if not (out / PROGRAMS[about["program"]].file).exists():
            fix = "delete this folder, and export again"
            raise FreeBindError("an export has lost its vectors", where=out, fix=fix)
        return True
    files.require_unclaimed(out / RECORD, "items")
    return False
