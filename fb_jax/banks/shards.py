"""A big ``[n, d]`` array as numbered ``.npy`` files and a manifest.

Tools that read folders of numbered ``.npy`` files (embedding-reader, autofaiss) read these. The
manifest is written last, so a folder with a manifest is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped

from fb_jax import files
from fb_jax.banks.manifest import MANIFEST, Manifest, Shard
from fb_jax.banks.rows import Concatenated, Progress, no_progress
from fb_jax.errors import FreeBindError

REMEDY = "restore the files from where they are complete, or delete the folder and write it again"


class ShardedArray:
    """A memory-mapped ``[n, d]`` array in numbered ``.npy`` shards.

    Indexing with a slice or an array of row numbers copies those rows in the stored dtype. Opening
    reads only headers: it notices missing and truncated shards, ``verify`` notices the rest.

    Args:
        folder: A folder with ``manifest.json`` and its shards.
        remedy: What to do when it is damaged, for messages.

    Raises:
        FreeBindError: The manifest or a shard is missing, or a shard is not as the manifest says.
    """

    def __init__(self, folder: Path | str, remedy: str = REMEDY) -> None:
        self.folder = Path(folder)
        self.remedy = remedy
        self.manifest, maps = self._opened()
        self._rows = Concatenated(maps, self.manifest.dim, self.dtype)
        names = {shard.file for shard in self.manifest.shards}
        if len(self._rows) != self.manifest.count or len(names) < len(maps):
            raise FreeBindError(
                "the shards do not add up",
                where=folder,
                expected=f"{self.manifest.count} rows",
                got=f"{len(self._rows)} rows",
                fix=self.remedy,
            )

    def __repr__(self) -> str:
        return f"ShardedArray({str(self.folder)!r}, {list(self.shape)} {self.dtype})"

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return ShardedArray, (self.folder, self.remedy)  # a pickle opens the files again

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        return self.manifest.count, self.manifest.dim

    @property
    def dtype(self) -> np.dtype:
        """The stored dtype."""
        return np.dtype(self.manifest.dtype)

    @property
    def fingerprint(self) -> str:
        """A digest of the exact bytes of the array."""
        return self.manifest.fingerprint

    def __len__(self) -> int:
        return self.manifest.count

    def __getitem__(self, rows: slice | Integer[np.ndarray, " r"]) -> Shaped[np.ndarray, "r d"]:
        return self._rows[rows]

    def _opened(self) -> tuple[Manifest, list[np.ndarray]]:
        """Return the manifest and the shards; again if it was replaced while they were opened."""
        manifest = Manifest.read(self.folder / MANIFEST)
        while True:
            try:
                return manifest, [self._open(shard, manifest) for shard in manifest.shards]
            except FreeBindError:
                before, manifest = manifest, Manifest.read(self.folder / MANIFEST)
                if manifest == before:
                    raise

    def _open(self, shard: Shard, manifest: Manifest) -> np.ndarray:
        path = self.folder / shard.file
        block = files.open_npy(path, "a shard", follow=False, fix=self.remedy)
        expected = ((shard.rows, manifest.dim), np.dtype(manifest.dtype))
        if (block.shape, block.dtype) != expected:
            raise FreeBindError(
                "a shard is not what its manifest says",
                where=path,
                expected=f"shape {expected[0]}, {expected[1]}",
                got=f"shape {block.shape}, {block.dtype}",
                fix=self.remedy,
            )
        return block

    def verified(self, progress: Progress = no_progress) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first row, shard)`` for every shard, after comparing its bytes with its digest.

        Raises:
            FreeBindError: The first shard that was altered.
        """
        first = 0
        for number, shard in enumerate(self.manifest.shards):
            yield first, self.whole_shard(number)[:]
            first += shard.rows
            progress(shard.rows)

    def whole_shard(self, number: int) -> Shaped[np.ndarray, "r d"]:
        """Return a memory-mapped shard, after comparing its bytes with its digest.

        Raises:
            FreeBindError: The shard was altered.
        """
        shard = self.manifest.shards[number]
        digest = files.sha256_of(self.folder / shard.file)
        if digest != shard.sha256:
            raise FreeBindError(
                "a shard was altered after it was written",
                where=self.folder / shard.file,
                expected=f"SHA-256 {shard.sha256}",
                got=f"SHA-256 {digest}",
                fix=self.remedy,
            )
        block: np.ndarray = self._rows.parts[number]  # type: ignore[assignment]
        return block

    def verify(self, progress: Progress = no_progress) -> None:
        """Compare every shard's bytes with its digest; see ``verified``."""
        for _ in self.verified(progress):
            pass
