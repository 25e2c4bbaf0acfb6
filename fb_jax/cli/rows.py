"""``freebind bank rows``: some rows of a bank as a file that knows its space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from fb_jax import files
from fb_jax.banks import open_banks, open_split
from fb_jax.cli.items import RowsAbout, bank_of, caption, position_of
from fb_jax.errors import FreeBindError


def rows(
    root: Annotated[Path, Positional],
    split: str,
    space: str,
    modality: str,
    out: Annotated[Path, arg(metavar="FILE.npy")],
    row: Annotated[tuple[int, ...], arg(metavar="NUMBER ...")] = (),
    id: tuple[str, ...] = (),
) -> None:
    """Write some rows of a bank as .npy, with a record of their space, such as queries.

    Args:
        root: Bank root.
        split: Split of the bank.
        space: Space of the bank, fused or not.
        modality: Modality of the bank.
        out: File to write; FILE.json beside it records its digest, the space and the modality.
        row: Rows of the items.
        id: Ids of the items; they follow the rows.
    """
    if not (row or id):
        raise FreeBindError(
            "there is nothing to write", expected="--row NUMBER ..., or --id ID ..."
        )
    _require_free(out)
    banks = open_banks(root, split, spaces=[space], role="item")
    bank, items = bank_of(banks, space, modality), open_split(root, split).items(modality)
    bank.verify()
    numbers = [*row, *map(items.row_of, id)]
    titles = [f"{modality} {number}: {caption(items[number])}" for number in numbers]
    pairs = zip(numbers, titles, strict=True)
    positions = np.concatenate([position_of(banks, bank, *pair) for pair in pairs])
    about = RowsAbout(space, modality, bank.encoder.weights_sha256, bank.role)
    known = {name: part for name, part in vars(about).items() if part}
    files.write_recorded(out, bank[positions], known)
    note = ", to be found: freebind search --queries turns them into rows that ask"
    print(f"{out}: {len(numbers)} rows of {space}{note * bool(bank.role)}", *titles, sep="\n  ")


def _require_free(out: Path) -> None:
    if out.suffix != ".npy":
        raise FreeBindError("rows are written as .npy", where=out, fix=f"--out {out}.npy")
    for path in (out, out.with_suffix(".json")):
        if path.exists():
            fix = "choose another --out; delete this file only if you do not need it"
            raise FreeBindError("this file is already there", where=path, fix=fix)
