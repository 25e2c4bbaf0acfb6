"""New rows for a bank that is finished: those of new items, or of items that it lacked.

The new rows are written as a small array of its own, ``growing/`` inside the bank's folder. Once it
is finished, its shards move into the bank and the manifest is replaced: until then the bank is what
it was, and afterwards the manifest says what it had been. No shard ever changes; those whose rows
are written again go once the new manifest is there.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.banks.bank import Bank, BankAbout
from fb_jax.banks.manifest import MANIFEST, PARTIAL, Earlier, Manifest, Shard
from fb_jax.banks.row_by_row import ShardWriter
from fb_jax.banks.shard_names import free_number, remove_strays, shard_name
from fb_jax.banks.writers import PartWriter
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, Sha256

GROWING = "growing"


@dataclass(frozen=True)
class _Growth:
    """What the manifest of new rows says of them: which bank gets them, from which row on.

    ``onto`` is ``Manifest.before_filling``: missing rows may be filled in while others are added.
    """

    onto: Sha256
    start: Count
    items_sha256: str
    made_from: str
    missing: list[Count] = field(default_factory=list)
    partial: dict[str, list[Count]] = field(default_factory=dict)


def first_row_of_shard(bank: Bank, row: int) -> int:
    """Return the first row of the shard of a row: from there the shard can be written again."""
    starts = accumulate((shard.rows for shard in bank.manifest.shards), initial=0)
    return max(start for start in starts if start <= row)


def new_rows(
    bank: Bank, about: BankAbout, *, start: int, count: int, late: tuple[str, ...] = ()
) -> PartWriter:
    """Return a writer of the rows of a bank from ``start`` on; ``settle`` adds them to it.

    Args:
        bank: A bank on disk, as it is now.
        about: What the bank is with the new rows; what it says of the rows before them is not used.
        start: Number of rows that stay: all, or those of whole shards.
        count: Rows that the bank will have.
        late: See ``PartWriter``.

    Raises:
        FreeBindError: Other rows are being added to the bank, or were since it was opened.
    """
    form, folder = bank.manifest, Path(bank.folder)
    if Manifest.read(folder / MANIFEST).before_filling != form.before_filling:
        again = "run the same command again: it looks at the bank as it is now"
        raise FreeBindError("another process has added rows to this bank", where=folder, fix=again)
    return PartWriter(
        folder / GROWING,
        dim=form.dim,
        count=count - start,
        dtype=form.dtype,
        about=about.to_json() | {"onto": form.before_filling, "start": start},
        late=late,
        shard_rows=form.shard_rows,
    )


@contextmanager
def bank_grower(bank: Bank, about: BankAbout, *, start: int, count: int) -> Iterator[ShardWriter]:
    """Return a context that adds rows to a bank; see ``new_rows`` and ``bank_writer``.

    The rows of the writer are those from ``start`` on. An interrupted call continues after its last
    shard; call ``settle`` before you open the bank.

    Raises:
        FreeBindError: Other rows are being added, by this or another process, or at the end rows
            are missing.
    """
    folder = Path(bank.folder)
    with files.locked(folder, name=".writing"):
        parts = new_rows(bank, about, start=start, count=count)
        with parts.claimed(parts.shards):
            writer = ShardWriter(parts, first=start)
            yield writer
            writer.close()
        settle(folder)


def is_growing(folder: Path) -> bool:
    """Return whether a command that adds rows to a bank was stopped, or is at work."""
    return any((folder / GROWING / name).exists() for name in (MANIFEST, PARTIAL))


def settle(folder: Path) -> None:
    """Add new rows to their bank if they are all written, and tidy up after killed processes.

    Raises:
        FreeBindError: The new rows, or the bank, are damaged or lost.
    """
    files.remove_partial(folder, GROWING)
    if not _unsettled(folder):
        return
    with files.locked(folder, wait=True, name=".opening") as held:
        try:
            if (folder / GROWING / MANIFEST).exists():
                _settle(folder)
            elif held:
                remove_strays(folder, Manifest.read(folder / MANIFEST))
        except OSError as error:
            raise files.not_written(folder, error, "a bank") from error


def _unsettled(folder: Path) -> bool:
    """Return whether new rows are written, or a shard may be there in two versions."""
    refilled = (folder / MANIFEST).exists() and any(folder.glob("emb_*_*"))
    return refilled or (folder / GROWING / MANIFEST).exists()


def _settle(folder: Path) -> None:
    files.remove_partial(folder, f"{MANIFEST}.*")
    bank, new = (Manifest.read(path / MANIFEST) for path in (folder, folder / GROWING))
    growth: _Growth = files.convert(new.about, _Growth, folder / GROWING)
    if growth.onto == bank.before_filling:
        bank = _grown(folder, bank, new, growth)
    elif all(state.fingerprint != growth.onto for state in bank.earlier):
        raise FreeBindError(
            "these new rows belong to another bank",
            where=folder / GROWING,
            fix="delete this folder, and add the rows again",
        )
    remove_strays(folder, bank)
    (folder / GROWING).rename(done := folder / f"{GROWING}{files.PARTIAL}")
    shutil.rmtree(done, ignore_errors=True)


def _grown(folder: Path, bank: Manifest, new: Manifest, growth: _Growth) -> Manifest:
    """Move new shards into a bank and replace its manifest, which is returned."""
    starts = list(accumulate((shard.rows for shard in bank.shards), initial=0))
    if growth.start not in starts:
        fix = f"delete {folder / GROWING}, and add the rows again"
        raise FreeBindError("new rows begin inside a shard", where=folder, fix=fix)
    kept = bank.shards[: starts.index(growth.start)]
    moved = [_moved(folder, new, free_number(bank) + i) for i, new in enumerate(new.shards)]
    files.sync_folder(folder)
    then = Earlier(bank.count, growth.start, bank.fingerprint, bank.about["items_sha256"])
    about = bank.about | {
        "items_sha256": growth.items_sha256,
        "missing": _joined(bank.about.get("missing", []), growth.missing, growth.start),
        "made_from": growth.made_from,
        **_partial(bank, growth),
        "earlier": [dataclasses.asdict(state) for state in (*bank.earlier, then)],
    }
    count = growth.start + new.count
    whole = dataclasses.replace(bank, count=count, about=about, shards=(*kept, *moved))
    files.write_json(folder / MANIFEST, whole.to_json())
    return whole


def _joined(before: Sequence[int], after: Sequence[int], start: int) -> list[int]:
    """Join row numbers of a bank with those of its new rows."""
    return [row for row in before if row < start] + [row for row in after if row >= start]


def _partial(bank: Manifest, growth: _Growth) -> dict[str, Any]:
    before = bank.about.get("partial", {})
    joined = {
        space: _joined(before.get(space, []), growth.partial.get(space, []), growth.start)
        for space in {**before, **growth.partial}
    }
    left = {space: rows for space, rows in joined.items() if rows}
    return {"partial": left} if joined else {}


def _moved(folder: Path, shard: Shard, number: int) -> Shard:
    """Move a new shard into the bank, unless a killed process has done so."""
    here, there = folder / GROWING / shard.file, folder / shard_name(number)
    if here.exists():
        here.replace(there)
    elif not there.exists() or files.sha256_of(there) != shard.sha256:
        raise FreeBindError(
            "new rows of a bank are lost",
            where=here,
            fix=f"delete {folder / GROWING}, and add the rows again",
        )
    return dataclasses.replace(shard, file=there.name)
