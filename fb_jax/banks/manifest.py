"""The manifest of a sharded array: its form, what its rows mean, and the digest of every shard."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, FileName, Sha256, Size, Width

FORMAT = "freebind-array"
VERSION = 1
MANIFEST = "manifest.json"
PARTIAL = "partial.json"
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Shard:
    """One ``.npy`` file of an array: its name, number of rows, and the SHA-256 of its bytes."""

    file: FileName
    rows: Size
    sha256: Sha256


@dataclass(frozen=True)
class Earlier:
    """What an array was before it grew, or before missing rows of it were filled in.

    Attributes:
        count: Rows that it had.
        kept: First rows of these that were not written again.
        fingerprint: Digest of its manifest then.
        items_sha256: Digest of the item list then.
        filled: Number of its missing rows that were filled in next; 0 if it grew.
    """

    count: Count
    kept: Count
    fingerprint: Sha256
    items_sha256: str
    filled: Count = 0


@dataclass(frozen=True)
class Manifest:
    """The description of an array folder; ``about`` holds what the rows mean."""

    dim: Width
    dtype: Literal["float16", "float32"]
    count: Count
    shard_rows: Size
    about: dict[str, Any] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    format: str = FORMAT
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON types; ``about`` is not copied."""
        own = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        shards = [dataclasses.asdict(shard) for shard in self.shards]
        return {"format": own.pop("format"), "version": own.pop("version"), **own, "shards": shards}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole manifest, and so of every shard: it names these exact bytes."""
        return files.sha256_of_json(self.to_json())

    @property
    def earlier(self) -> list[Earlier]:
        """What the array was before it grew or was filled, oldest first."""
        found: list[Earlier] = files.convert(
            self.about.get("earlier", []), list[Earlier], "about.earlier", "a manifest is malformed"
        )
        return found

    @property
    def before_filling(self) -> str:
        """The fingerprint that the array had when it had last grown, before it was filled."""
        found = self.fingerprint
        for state in reversed(self.earlier):
            if not state.filled:
                break
            found = state.fingerprint
        return found

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            FreeBindError: It is missing, no manifest, or of another format version.
        """
        data = files.read_versioned(path, (FORMAT, VERSION), "this manifest")
        if strange := sorted(set(data) - {part.name for part in dataclasses.fields(cls)}):
            raise FreeBindError("a manifest is malformed", where=path, got=", ".join(strange))
        return files.convert(data, cls, path, "a manifest is malformed")


def new_manifest(
    folder: Path, dim: int, dtype: str, count: int, shard_rows: int, about: dict[str, Any]
) -> Manifest:
    """Return the manifest of an array before its first shard is written.

    Raises:
        FreeBindError: Arrays of this dtype are not stored.
    """
    if dtype not in DTYPES:
        raise FreeBindError(
            "arrays are stored in half or single precision",
            where=folder,
            expected=" or ".join(DTYPES),
            got=dtype,
        )
    stored: Any = dtype
    return Manifest(dim, stored, count, shard_rows, files.json_types(about))


def pick_up(folder: Path, asked: Manifest, late: tuple[str, ...] = ()) -> Manifest | None:
    """Return the manifest of the array in a folder; None if there is none yet.

    Args:
        folder: The folder.
        asked: The manifest of the array to write, without shards.
        late: Names in ``about`` that are only known at the end, and do not count.

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
