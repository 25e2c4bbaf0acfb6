"""Queries of ``freebind search``: an item of the split, or embeddings in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from rich.markup import escape
from tyro.conf import arg

from fb_jax import files
from fb_jax.banks import Bank, BankSet, Split
from fb_jax.cli.items import UNKNOWN, RowsAbout, bank_of, caption, position_of
from fb_jax.cli.origin import banks_of, fused_space_of, roots_of
from fb_jax.errors import FreeBindError
from fb_jax.fusion.queries import SearchedSpace
from fb_jax.importing import open_matrix


class Titled(NamedTuple):
    """Queries of a search.

    Attributes:
        titles: What to print above the result of each.
        rows: ``[q, d]`` rows that ask.
        measure: What ranks: "cosine", or "score", which is hub-corrected.
        scale: What cosines are multiplied by.
    """

    titles: list[str]
    rows: np.ndarray
    measure: str
    scale: float


def titled(
    titles: list[str], searched: SearchedSpace, rows: Mapping[str, Any], modality: str | None
) -> Titled:
    """Return rows as queries of a space; see ``SearchedSpace.query_rows``."""
    asking = searched.query_rows(rows, modality)
    measure = "cosine" if searched.hubs is None else "score"
    return Titled(titles, asking, measure, searched.scale(modality))


@dataclass(frozen=True)
class Query:
    """What to search for: an item of the first split, or embeddings in files."""

    like: Annotated[str | None, arg(metavar="MODALITY")] = None
    """Modality of the item that is the query, with --row or --id."""

    row: int | None = None
    """Row of that item, in the first split."""

    id: str | None = None
    """Id of that item, in the first split."""

    queries: Annotated[tuple[Path, ...], arg(metavar="FILE.npy ...")] = ()
    """Embeddings to search for, a matrix [q, d]; for queries in several spaces a file each."""

    of: Annotated[tuple[str, ...], arg(metavar="SPACE ...")] = ()
    """Space of each file: the one that is searched, or native spaces that are fused first, at least
    the unified one. Not needed for files of freebind bank rows, which know theirs."""

    modality: Annotated[str | None, arg(name="as", metavar="MODALITY")] = None
    """Modality of the queries in the files, to fuse them."""

    run: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder of the run, product or fused space that the banks were fused by; by default the one
    that freebind fuse recorded."""

    def __post_init__(self) -> None:
        for path in self.queries:
            if not path.is_dir():
                fix = "name a file that exists: --queries FILE.npy"
                files.open_regular(path, "a file of queries", fix=fix).close()


def find_queries(query: Query, bank: Bank, banks: BankSet, split: Split) -> Titled:
    """Return the queries as rows of the space that is searched.

    Args:
        query: The options.
        bank: A bank that is searched.
        banks: The banks of its space over the split.
        split: The split of items that can be queries.

    Raises:
        FreeBindError: There is no query, or it is of another space.
    """
    if not query.queries:
        if query.of or query.modality:
            raise FreeBindError("--of and --as are about files", expected="--queries FILE.npy")
        return _item(query, bank.space, banks, split)
    if any(part is not None for part in (query.like, query.row, query.id)):
        raise FreeBindError("two kinds of query", expected="--queries alone, or --like")
    return _from_files(query, bank, split)


def _item(query: Query, space: str, banks: BankSet, split: Split) -> Titled:
    """Return an item of the split."""
    if query.like is None or (query.row is None) == (query.id is None):
        raise FreeBindError(
            "there is no query",
            expected="--text, --image or --audio; --like MODALITY with one of --row and --id; or "
            "--queries FILE.npy",
        )
    bank, items = bank_of(banks, space, query.like), split.items(query.like)
    bank.verify()
    row = items.row_of(str(query.id)) if query.row is None else query.row
    title = f"{query.like} {row}: {caption(items[row])}"
    rows = {space: bank[position_of(banks, bank, row, title)]}
    return titled([title], _searched(bank, split, query), rows, query.like)


def _from_files(query: Query, bank: Bank, split: Split) -> Titled:
    """Return the rows of files, fused if they are of native spaces of a fused one."""
    records = list(map(_record_of, query.queries))
    of = query.of or tuple(map(_space_of, query.queries, records))
    if len(of) != len(query.queries) or len(set(of)) < len(of):
        raise FreeBindError(
            "every file of queries needs a space of its own",
            expected="--queries A.npy B.npy --of SPACE_A SPACE_B",
            got=f"{len(query.queries)} files, --of {' '.join(of)}",
        )
    modality = query.modality or next((known.modality for known in records if known), None)
    for path, space, known in zip(query.queries, of, records, strict=True):
        _require_fitting(path, space, known, modality, bank, split)
    searched = _searched(bank, split, query, as_they_are=of == (bank.space,))
    rows = {s: np.asarray(open_matrix(p)[:]) for s, p in zip(of, query.queries, strict=True)}
    names = " + ".join(map(str, query.queries))
    titles = [escape(f"{names}, row {i}") for i in range(len(rows[of[0]]))]
    return titled(titles, searched, rows, modality)


def _searched(bank: Bank, split: Split, query: Query, as_they_are: bool = True) -> SearchedSpace:
    """Return the space that is searched; its folder is not needed if rows ask as they are.

    Rows of a hub correction never do: those of items become those of queries first.
    """
    alone = as_they_are and not bank.role
    return SearchedSpace(bank.space, None if alone else fused_space_of(bank, split, query.run))


def _record_of(path: Path) -> RowsAbout | None:
    """Return what the record beside a file says; None if it has none."""
    if path.suffix != ".npy":
        return None
    about = files.record_of(path, "a file of queries")
    where = path.with_suffix(".json")
    return (
        None if about is None else files.convert(about, RowsAbout, where, "not a record of queries")
    )


def _space_of(path: Path, record: RowsAbout | None) -> str:
    """Return the space that a file's record names."""
    if record is None:
        raise FreeBindError(
            "nothing says which space these queries are of: rows of any space fit if their "
            "dimension does, and find the wrong items",
            where=path,
            expected="--of SPACE, or a record beside the file, as freebind bank rows writes it",
            fix="--of with the space that is searched if they are rows of it; --of with the "
            "unified space and --as MODALITY to fuse them first",
        )
    return record.space


def _require_fitting(
    path: Path,
    space: str,
    record: RowsAbout | None,
    modality: str | None,
    bank: Bank,
    split: Split,
) -> None:
    """Raise a FreeBindError if the record of a file does not fit the options or the banks."""
    if record is None:
        return
    found, wanted = [record.space, record.modality], [space, modality or record.modality]
    known = [bank]
    if record.space != bank.space:
        known = banks_of(roots_of(bank, split), [split.name], space, record.modality)
    if weights := _other_weights(record, known):
        found, wanted = [*found, record.weights_sha256], [*wanted, " or ".join(weights)]
    if found != wanted:
        raise FreeBindError(
            "these queries are of another space than asked for",
            where=path,
            expected=", ".join(wanted),
            got=", ".join(found),
            fix="name the space and the modality that the record says; rows of a fused space at "
            "other factors must be fused again, and rows of another encoder embedded again",
        )


def _other_weights(record: RowsAbout, banks: list[Bank]) -> list[str]:
    """Return the digests of the encoders of some banks, if none can be that of a file's rows."""
    weights = sorted({bank.encoder.weights_sha256 for bank in banks})
    fits = {UNKNOWN, record.weights_sha256} & set(weights) or record.weights_sha256 == UNKNOWN
    return [] if fits else weights
