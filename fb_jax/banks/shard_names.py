"""Names of shards. Sorted by name, they are in the order of the rows.

emb_00003.npy      the fourth shard as it was first written
emb_00003_2.npy    the same, after some of its rows were filled in twice
"""

from __future__ import annotations

import re
from pathlib import Path

from fb_jax import files
from fb_jax.banks.manifest import MANIFEST, Manifest

NAMED = re.compile(r"emb_([0-9]+)(?:_([0-9]+))?\.npy")


def shard_name(number: int, version: int = 0) -> str:
    """Return the name of a shard."""
    return f"emb_{number:05d}{f'_{version}' if version else ''}.npy"


def next_name(name: str) -> str:
    """Return the name of a shard that takes the place of another."""
    match = NAMED.fullmatch(name)
    if match is None:  # another program has written it
        return f"{name.removesuffix('.npy')}.filled.npy"
    return shard_name(int(match[1]), int(match[2] or 0) + 1)


def free_number(manifest: Manifest) -> int:
    """Return the first number above those of all shards of an array."""
    numbers = [match for shard in manifest.shards if (match := NAMED.fullmatch(shard.file))]
    return 1 + max((int(match[1]) for match in numbers), default=-1)


def remove_strays(folder: Path, manifest: Manifest) -> None:
    """Remove what is not part of a finished array: old shards, and what a killed process left.

    Nobody else may be changing the array meanwhile.
    """
    for name in ("emb_*", MANIFEST):
        files.remove_partial(folder, f"{name}.*")
    known = {shard.file for shard in manifest.shards}
    for path in folder.glob("emb_*.npy"):
        if NAMED.fullmatch(path.name) and path.name not in known:
            path.unlink(missing_ok=True)
