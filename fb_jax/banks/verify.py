"""What is in a split on disk, and whether it is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fb_jax import files
from fb_jax.banks.bank import Bank
from fb_jax.banks.bankset import lacks, open_bank, require_one_dim
from fb_jax.banks.growing import is_growing
from fb_jax.banks.manifest import MANIFEST, PARTIAL
from fb_jax.banks.rows import Progress, no_progress
from fb_jax.banks.split import Split
from fb_jax.errors import FreeBindError

NO_RECORD = ", without a digest: freebind bank pairs writes one"


def verify_split(split: Split, progress: Progress = no_progress) -> list[str]:
    """Read everything in a split: items, banks, pair tables.

    Returns:
        One line for each thing that was found whole.

    Raises:
        FreeBindError: The first thing that is not.
    """
    found = []
    for folder in split.unfinished():
        lost = not (folder / PARTIAL).exists()
        again = "run the command that writes it again: it continues"
        raise FreeBindError(
            "a bank has lost its manifest" if lost else "a bank is not finished",
            where=folder,
            fix=f"restore {MANIFEST}, or delete the folder and write it again" if lost else again,
        )
    for path in sorted(split.path.glob("items/*.jsonl")):
        split.items(path.stem).verify()
        found.append(f"{describe_items(split, path.stem)}, ids unique")
    for space, modalities in split.spaces().items():
        banks = [open_bank(split, space, modality) for modality in modalities]
        require_one_dim(split.path / "embeddings", space, banks)
        for bank in banks:
            bank.verify(progress)
            found.append(f"{space}/{bank.modality}: {describe_bank(bank, split)}")
    for left, right in split.paired():
        count, path = len(split.read_pairs(left, right)), split.pairs_path(left, right)
        found.append(f"pairs {left}-{right}: {count}" + ("" if files.recorded(path) else NO_RECORD))
    return found


def describe_items(split: Split, modality: str) -> str:
    """Return one line about an item list."""
    items = split.items(modality)
    removed = f", {len(items.removed)} removed" if len(items.removed) else ""
    return f"items {modality}: {len(items)}{removed}"


def describe_bank(bank: Bank, split: Split | None = None) -> str:
    """Return one line about a bank on disk; with its split, also what it lacks of the items."""
    manifest = bank.manifest
    size = manifest.count * manifest.dim * np.dtype(manifest.dtype).itemsize
    parts = [
        f"{manifest.count} x {manifest.dim} {manifest.dtype}, {len(bank.missing)} missing",
        *[f"{len(rows)} fused without {space}" for space, rows in bank.partial.items()],
        f"{len(manifest.shards)} shards",
        files.gigabytes(size),
        bank.encoder.name,
        f"licence {bank.encoder.licence}",
        *["rows to be found, with hub correction"] * bool(bank.role),
        *_past(bank),
    ]
    if split is not None:
        parts += [text for text in [lacks(bank, split.items(bank.modality))] if text]
        parts += ["new rows are not all written"] if is_growing(Path(bank.folder)) else []
    return ", ".join(parts)


def _past(bank: Bank) -> list[str]:
    grown = [str(state.count) for state in bank.earlier if not state.filled]
    filled = sum(state.filled for state in bank.earlier)
    texts = [f"grown from {', '.join(grown)}"] if grown else []
    return texts + ([f"{filled} filled in later"] if filled else [])
