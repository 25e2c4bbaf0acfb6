"""One big ``[n, d]`` array as numbered ``.npy`` files and a manifest.

Tools that read folders of numbered ``.npy`` files (embedding-reader, autofaiss) read these. The
manifest is written last, so a folder that has one is whole. Until then ``partial.json`` lists the
shards that are finished, and a writer that is opened again goes on behind them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from fb_jax.banks import files
from fb_jax.banks.rows import Concatenated
from fb_jax.errors import FreeBindError

FORMAT = "freebind-array"
VERSION = 1
MANIFEST = "manifest.json"
PARTIAL = "partial.json"
DTYPES = ("float16", "float32")
SHARD_ROWS = 65536
REMEDY = "restore the files from where they are whole, or delete the folder and write it again"

Progress = Callable[[int], None]
"""Called with the number of rows that were just done."""


def no_progress(_rows: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Shard:
    """One ``.npy`` file of an array: its name, its rows, the SHA-256 of its bytes."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an array folder says of itself; ``about`` is free for what the rows mean."""

    dim: int
    dtype: str
    count: int
    shard_rows: int
    about: dict[str, Any] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    format: str = FORMAT
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON types."""
        fields = dataclasses.asdict(self)
        return {"format": fields.pop("format"), "version": fields.pop("version"), **fields}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the whole manifest, and so over every shard: names these exact bytes."""
        return files.sha256_of_json(self.to_json())

    @property
    def rows_done(self) -> int:
        """Rows in the shards that are listed."""
        return sum(shard.rows for shard in self.shards)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            FreeBindError: It is missing, no manifest, or of another format version.
        """
        data = files.read_json(path)
        try:
            found = (data["format"], data["version"])
            if found != (FORMAT, VERSION):
                raise FreeBindError(
                    "this manifest is of another format",
                    where=path,
                    expected=f"{FORMAT} version {VERSION}",
                    got=f"{found[0]} version {found[1]}",
                )
            manifest = cls(**{**data, "shards": tuple(Shard(**s) for s in data["shards"])})
            np.dtype(manifest.dtype)
        except (KeyError, TypeError) as error:
            raise FreeBindError("a manifest is malformed", where=path, got=repr(error)) from error
        return manifest


class ShardedArray:
    """A memory-mapped ``[n, d]`` array in numbered ``.npy`` shards.

    Indexing with a slice or an array of row numbers copies those rows out in the stored dtype.
    Opening reads headers only: it notices missing and truncated shards, ``verify`` the rest.

    Args:
        folder: A folder with ``manifest.json`` and its shards.
        remedy: What to do when it is damaged, for messages.

    Raises:
        FreeBindError: The manifest or a shard is missing, truncated or not as the manifest says.
    """

    def __init__(self, folder: Path, remedy: str = REMEDY) -> None:
        self.folder = folder
        self.remedy = remedy
        self.manifest = Manifest.read(folder / MANIFEST)
        maps = [self._open(shard) for shard in self.manifest.shards]
        self._rows = Concatenated(maps, self.manifest.dim, self.dtype)
        if len(self._rows) != self.manifest.count:
            raise FreeBindError(
                "the shards do not add up",
                where=folder,
                expected=f"{self.manifest.count} rows",
                got=f"{len(self._rows)} rows",
                fix=self.remedy,
            )

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

    def _open(self, shard: Shard) -> np.ndarray:
        path = self.folder / shard.file
        try:
            block = np.lib.format.open_memmap(path, mode="r")
        except FileNotFoundError:
            raise FreeBindError("a shard is missing", where=path, fix=self.remedy) from None
        except OSError as error:
            raise FreeBindError("a shard cannot be opened", where=path, got=error) from error
        except (ValueError, EOFError) as error:
            raise FreeBindError(
                "a shard is truncated or no .npy file", where=path, got=error, fix=self.remedy
            ) from error
        expected = ((shard.rows, self.manifest.dim), self.dtype)
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
        """Yield ``(first row, shard)`` over the array, each after its bytes met their digest.

        Raises:
            FreeBindError: The first shard that was altered.
        """
        first = 0
        for shard, block in zip(self.manifest.shards, self._rows.parts, strict=True):
            digest = files.sha256_of(self.folder / shard.file)
            if digest != shard.sha256:
                raise FreeBindError(
                    "a shard was altered after it was written",
                    where=self.folder / shard.file,
                    expected=f"SHA-256 {shard.sha256}",
                    got=f"SHA-256 {digest}",
                    fix=self.remedy,
                )
            yield first, block[:]
            first += shard.rows
            progress(shard.rows)

    def verify(self, progress: Progress = no_progress) -> None:
        """Compare every shard's bytes with its digest; see ``verified``."""
        for _ in self.verified(progress):
            pass


def new_manifest(
    folder: Path, dim: int, dtype: str, count: int, shard_rows: int, about: dict[str, Any]
) -> Manifest:
    """Return the manifest of an array that is yet to be written.

    Raises:
        FreeBindError: The dtype is none that is stored.
    """
    if dtype not in DTYPES:
        raise FreeBindError(
            "arrays are stored in half or single precision",
            where=folder,
            expected=" or ".join(DTYPES),
            got=dtype,
        )
    return Manifest(dim, dtype, count, shard_rows, files.json_types(about))


def write_shard(folder: Path, number: int, rows: Shaped[np.ndarray, "r d"]) -> Shard:
    """Write one shard's file, atomically."""
    name = f"emb_{number:05d}.npy"
    files.write_npy(folder / name, rows)
    return Shard(name, len(rows), files.sha256_of(folder / name))


def pick_up(folder: Path, asked: Manifest, late: tuple[str, ...] = ()) -> Manifest | None:
    """Return what a folder holds already of the array that is asked for; None if nothing.

    Raises:
        FreeBindError: The folder holds another array.
    """
    for name in (MANIFEST, PARTIAL):
        if not (folder / name).exists():
            continue
        found = Manifest.read(folder / name)
        if (own := _identity(found, late)) != (wanted := _identity(asked, late)):
            here, other = files.differences(own, wanted)
            raise FreeBindError(
                "this folder holds another array",
                where=folder,
                expected=f"{other} (asked for)",
                got=f"{here} (already there)",
                fix="choose another name or folder; delete this one only if you do not need it",
            )
        return found
    return None


def _identity(manifest: Manifest, late: tuple[str, ...]) -> dict[str, Any]:
    about = {name: part for name, part in manifest.about.items() if name not in late}
    return dataclasses.replace(manifest, shards=(), about=about).to_json()


class ShardWriter:
    """Writes a sharded array row by row, and goes on where an earlier writer was stopped.

    Rows are buffered until a shard is full; each shard, then the list of finished shards, then at
    ``close`` the manifest is written atomically. Opening the same array again (same arguments)
    finds ``rows_done`` rows finished; append from there.

    Args:
        folder: Where the array goes.
        dim: Its columns.
        count: Its rows, known from the start.
        dtype: "float16" or "float32".
        about: What the rows mean; part of the array's identity.
        shard_rows: Rows of a shard; also the unit of resuming and the memory held.

    Raises:
        FreeBindError: The folder holds another array.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        count: int,
        dtype: str = "float16",
        about: dict[str, Any] | None = None,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        self.folder = folder
        asked = new_manifest(folder, dim, dtype, count, shard_rows, about or {})
        self.manifest = pick_up(folder, asked) or asked
        self._buffer: list[np.ndarray] = []
        self._buffered = 0

    @property
    def rows_done(self) -> int:
        """Rows that are safe on disk."""
        return self.manifest.rows_done

    @property
    def finished(self) -> bool:
        """Whether the array is whole, manifest and all."""
        return (self.folder / MANIFEST).exists()

    def rewind(self, rows: int) -> None:
        """Forget buffered rows, and finished shards until at most ``rows`` rows remain.

        For arrays that are written in step with others of which one is behind.
        """
        self._buffer, self._buffered = [], 0
        shards = self.manifest.shards
        while sum(shard.rows for shard in shards) > rows:
            shards = shards[:-1]
        if shards != self.manifest.shards:
            self.manifest = dataclasses.replace(self.manifest, shards=shards)
            files.write_json(self.folder / PARTIAL, self.manifest.to_json())
            (self.folder / MANIFEST).unlink(missing_ok=True)

    def append(self, rows: Shaped[np.ndarray, "r d"]) -> None:
        """Add rows behind the last ones.

        Raises:
            FreeBindError: They have another width, there are too many, or the disk is full.
        """
        total = self.rows_done + self._buffered + len(rows)
        if rows.shape[1] != self.manifest.dim or total > self.manifest.count:
            raise FreeBindError(
                "these rows do not fit the array that is being written",
                where=self.folder,
                expected=f"{self.manifest.dim} columns, at most {self.manifest.count} rows in all",
                got=f"{rows.shape[1]} columns, {total} rows in all",
            )
        self._buffer.append(np.array(rows, self.manifest.dtype))  # callers reuse their memory
        self._buffered += len(rows)
        while self._buffered >= self.manifest.shard_rows:
            self._flush(self.manifest.shard_rows)

    def _flush(self, rows: int) -> None:
        block = np.concatenate(self._buffer)
        shard, rest = block[:rows], block[rows:]
        done = write_shard(self.folder, len(self.manifest.shards), shard)
        self.manifest = dataclasses.replace(self.manifest, shards=(*self.manifest.shards, done))
        files.write_json(self.folder / PARTIAL, self.manifest.to_json())
        self._buffer, self._buffered = [rest], len(rest)

    def close(self) -> Manifest:
        """Write the last shard and the manifest, and return it.

        Raises:
            FreeBindError: Rows are missing.
        """
        if (rows := self.rows_done + self._buffered) != self.manifest.count:
            raise FreeBindError(
                "an array was closed before all its rows were there",
                where=self.folder,
                expected=f"{self.manifest.count} rows",
                got=f"{rows} rows",
                fix="append the rest; what is there is kept",
            )
        if self._buffered:
            self._flush(self._buffered)
        if not self.finished:
            files.write_json(self.folder / MANIFEST, self.manifest.to_json())
        (self.folder / PARTIAL).unlink(missing_ok=True)
        return self.manifest
