"""New rows for a bank, from files of another program, and their items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    ItemList,
    Progress,
    Split,
    append_items,
    bank_grower,
    no_progress,
    open_bank,
    settle,
)
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.importing.bank import BadRows, open_named, scan_source, write_rows
from fb_jax.importing.lists import Listed, require_count
from fb_jax.importing.source import Source


def append_to_bank(
    split: Split,
    space: str,
    modality: str,
    source: Source | Path | str,
    *,
    items: Listed | Path | str | None = None,
    encoder: Encoder | None = None,
    bad_rows: BadRows = "refuse",
    progress: Progress = no_progress,
) -> Bank:
    """Add rows on disk to a bank, and their items to the item list unless they are there.

    A killed call continues; a repeated one changes nothing.

    Args:
        split: Split of the bank.
        space: Name of the space.
        modality: Name of the modality.
        source: The new rows; see ``import_bank``.
        items: Their items; see ``import_bank``. None takes the columns of the source; if it has
            none, the items that another space has brought and this bank lacks; if there are none,
            the numbers that continue a numbered list.
        encoder: The model that computed the embeddings, if it is to be compared with the bank's.
        bad_rows: Refuse NaN, infinite and zero rows, or list them as missing.
        progress: Called with the number of rows just written.

    Raises:
        FreeBindError: There is no such bank, or the rows or items cannot be added to it.
    """
    folder = split.bank_path(space, modality)
    if modality not in split.spaces().get(space, []):
        fix = "import its first rows without --append"
        raise FreeBindError("there is no finished bank to add rows to", where=folder, fix=fix)
    settle(folder)
    bank, (opened, listed) = open_bank(split, space, modality), open_named(source, modality, items)
    count = len(opened.matrix)
    _require_same_model(bank, opened.matrix.shape[1], encoder)
    scan = scan_source(opened, bad_rows)
    there = _last_added(bank, scan.digest, count)
    start = len(bank) - (count if there else 0)
    grown = _store_new(split, modality, listed, start, count)
    if there:
        notice_once(f"{folder}: these rows are here already")
        return bank
    digest, missing = grown.digest_of(start + count), start + scan.missing
    about = BankAbout(space, modality, bank.encoder, digest, missing, scan.digest)
    with bank_grower(bank, about, start=start, count=start + count) as writer:
        write_rows(writer, opened.matrix, scan.missing, progress)
    return Bank.open(folder)


def _require_same_model(bank: Bank, dim: int, encoder: Encoder | None) -> None:
    if dim != bank.shape[1] or encoder not in (None, bank.encoder):
        raise FreeBindError(
            "new rows must come from the model of the bank",
            where=bank.folder,
            expected=f"{bank.shape[1]} columns, {bank.encoder}",
            got=f"{dim} columns, {encoder or 'no --encoder'}",
            fix="leave out --encoder if it is the same model; import others as another space",
        )


def _last_added(bank: Bank, made_from: str, count: int) -> bool:
    """Return whether the last rows that were added to a bank are these."""
    grown = [state.count for state in bank.earlier if not state.filled]
    before = grown[-1] if grown else len(bank)
    return bank.about.made_from == made_from and len(bank) - before == count


def _store_new(split: Split, modality: str, new: Listed | None, start: int, count: int) -> ItemList:
    """Return the item list with the items of new rows, which are added unless they are there."""
    here = split.items(modality)
    if new:
        items = list(replace(new, first=start))
        require_count(count, len(items), new.columns.where)
    elif start < len(here):
        require_count(count, len(here) - start, f"{here.path}, from row {start} on")
        return here
    elif here[start - 1] == {"id": str(start - 1)}:
        items = [{"id": str(row)} for row in range(start, start + count)]
    else:
        raise FreeBindError(
            "new rows need items: nobody knows what they are",
            where=here.path,
            expected="--items FILE, with an item for each row",
        )
    return append_items(split, modality, items, start)
