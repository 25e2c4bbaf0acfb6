"""``freebind bank remove``: items that go. No JAX."""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.banks import open_split, remove_items
from fb_jax.errors import FreeBindError


def remove(
    root: Path,
    split: str,
    modality: str,
    ids: tuple[str, ...] = (),
    ids_file: Path | None = None,
) -> None:
    """Remove items from a modality of a split, all of them or none.

    Nothing reads them any more: no training, fusing, search or pair. Their rows stay in the banks'
    files, and the rows of the other items keep their numbers.

    Args:
        root: Bank root.
        split: Split of the items.
        modality: Modality of the items.
        ids: Ids of the items.
        ids_file: File with an id in a line, instead of --ids or beside it.
    """
    where = open_split(root, split)
    lines = [] if ids_file is None else files.read_lines(ids_file, "a list of ids")
    wanted = [*ids, *(line for line in lines if line)]
    if not wanted:
        raise FreeBindError("no item is named", expected="--ids ID ... or --ids-file FILE")
    rows = remove_items(where, modality, wanted)
    items = where.items(modality)
    already = len(set(wanted)) - len(rows)
    print(f"{len(rows)} {modality} items removed" + f", {already} were already" * bool(already))
    print(f"{len(items) - len(items.removed)} of {len(items)} rows are left")
