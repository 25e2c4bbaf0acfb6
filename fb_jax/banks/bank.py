"""A bank: the embeddings of one modality of a split in one space, read as unit rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Integer

from fb_jax import files
from fb_jax.banks.directions import find_all_bad_rows, refuse_bad_rows, unit_rows
from fb_jax.banks.manifest import Earlier, Manifest
from fb_jax.banks.row_by_row import ShardWriter
from fb_jax.banks.rows import Progress, no_progress
from fb_jax.banks.shards import ShardedArray
from fb_jax.banks.writers import SHARD_ROWS, PartWriter
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count


@dataclass(frozen=True)
class Encoder:
    """What computed embeddings.

    Attributes:
        name: Name of the encoder.
        weights_sha256: Digest of its weights.
        licence: Licence of its weights, which the embeddings inherit.
    """

    name: str
    weights_sha256: str = "unknown"
    licence: str = "unknown"


@dataclass(frozen=True)
class BankAbout:
    """What the rows of a bank are.

    Attributes:
        space: Name of the space.
        modality: Name of the modality.
        encoder: What computed the embeddings.
        items_sha256: Digest of the item list.
        missing: Rows of the item list without an embedding, ascending; their rows are zero.
        made_from: Digest of what the rows are computed from, so that a writer never continues with
            the rows of another source.
        partial: Of a fused bank: expert to the rows of the item list that it lacks, ascending.
            They were fused from the other spaces.
        role: "item" if the rows are only to be found, with the columns of a hub correction; empty
            if they are plain.
    """

    space: str
    modality: str
    encoder: Encoder
    items_sha256: str = ""
    missing: Integer[np.ndarray, " m"] = field(
        default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False
    )
    made_from: str = "unknown"
    partial: Mapping[str, Integer[np.ndarray, " p"]] = field(
        default_factory=dict, repr=False, compare=False
    )
    role: Literal["", "item"] = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the manifest of a bank holds it; ``partial``, ``role`` only if not empty."""
        about = {**asdict(self), "missing": np.sort(self.missing).tolist()}
        about["partial"] = {space: rows.tolist() for space, rows in self.partial.items()}
        return {n: part for n, part in about.items() if n not in ("partial", "role") or part}


@dataclass(frozen=True)
class _Fields:
    """What a manifest holds about a bank."""

    space: str
    modality: str
    encoder: Encoder
    items_sha256: str
    missing: list[Count]
    partial: dict[str, list[Count]] = field(default_factory=dict)
    made_from: str = "unknown"
    role: Literal["", "item"] = ""
    earlier: list[Earlier] = field(default_factory=list)


@runtime_checkable
class BankArray(Protocol):
    """Where the rows of a bank are: a ``ShardedArray``, or an array in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""

    @property
    def fingerprint(self) -> str:
        """A digest of the exact bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...

    def verified(self, progress: Progress) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first row, block)``, each after its bytes were compared with their digest."""


class Bank:
    """The embeddings of one modality in one space; row i belongs to item i of the modality.

    Indexing gives float32 unit rows ``[r, d]``, read when they are asked for.

    Args:
        array: The rows.
        about: What they are.
        keep: Row numbers ``[n]`` to which the bank is restricted; None keeps all.
        known: Number of items in the list; less than the rows if that is a copy from before the
            bank grew. None: as many as there are rows.
    """

    def __init__(
        self,
        array: BankArray,
        about: BankAbout,
        keep: Integer[np.ndarray, " n"] | None = None,
        known: int | None = None,
    ) -> None:
        self.array, self.about, self.keep = array, about, keep
        self.known = len(array) if known is None else known
        self.space, self.modality, self.encoder = about.space, about.modality, about.encoder
        self.items_sha256, self.missing = about.items_sha256, about.missing
        self.partial, self.role = about.partial, about.role

    @classmethod
    def open(cls, folder: Path | str) -> Bank:
        """Open a bank on disk.

        Raises:
            FreeBindError: The folder holds no bank, or a damaged one.
        """
        array = ShardedArray(Path(folder))
        fields = files.convert(array.manifest.about, _Fields, folder, "not a bank")
        missing = np.asarray(fields.missing, np.int64)
        if len(missing) and (missing[-1] >= len(array) or (np.diff(missing) <= 0).any()):
            raise FreeBindError(
                "not a bank",
                where=folder,
                expected=f"missing rows in ascending order, below {len(array)}",
                got=f"{len(missing)} missing rows up to {missing.max()}",
            )
        same = ("space", "modality", "encoder", "items_sha256", "made_from", "role")
        named = {name: getattr(fields, name) for name in same}
        partial = {space: np.asarray(rows, np.int64) for space, rows in fields.partial.items()}
        return cls(array, BankAbout(**named, missing=missing, partial=partial))

    def __repr__(self) -> str:
        return f"Bank({str(self.folder)!r}, {list(self.shape)})"

    @property
    def folder(self) -> Path | str:
        """Where the bank is."""
        return getattr(self.array, "folder", f"{self.space}/{self.modality}, in memory")

    @property
    def manifest(self) -> Manifest:
        """The manifest of a bank on disk."""
        assert isinstance(self.array, ShardedArray)
        return self.array.manifest

    @property
    def fingerprint(self) -> str:
        """A digest of the exact bytes of the whole bank, whatever rows are kept here."""
        return self.array.fingerprint

    @property
    def earlier(self) -> list[Earlier]:
        """What a bank on disk was before it grew, oldest first."""
        return self.manifest.earlier if isinstance(self.array, ShardedArray) else []

    @property
    def origin(self) -> str:
        """The fingerprint that the bank had when the first of its rows, as they are, were there."""
        origin = self.fingerprint
        for state in reversed(self.earlier):
            if state.kept < state.count:
                break
            origin = state.fingerprint
        return origin

    @property
    def shape(self) -> tuple[int, int]:
        """Rows kept and dimensions."""
        return len(self), self.array.shape[1]

    def __len__(self) -> int:
        return len(self.array) if self.keep is None else len(self.keep)

    def __getitem__(self, rows: slice | Integer[np.ndarray, " r"]) -> Float32[np.ndarray, "r d"]:
        if self.keep is None:
            return unit_rows(self.array[rows])
        kept = self.keep[rows]
        if not isinstance(rows, slice) or not _nearly_contiguous(kept):
            return unit_rows(self.array[kept])
        span = self.array[kept[0] : kept[-1] + 1]  # faster than to gather rows
        return unit_rows(span if len(span) == len(kept) else span[kept - kept[0]])

    def present(self) -> Integer[np.ndarray, " n"]:
        """Return the rows of the item list that have an embedding in this space."""
        present = np.ones(len(self.array), bool)
        present[self.missing] = False
        return np.flatnonzero(present[: self.known])

    def restrict(self, keep: Integer[np.ndarray, " n"]) -> Bank:
        """Return the bank of some rows of the item list."""
        every = np.array_equal(keep, np.arange(len(self.array)))
        return Bank(self.array, self.about, None if every else keep, self.known)

    def verify(self, progress: Progress = no_progress) -> None:
        """Read the whole bank: every digest, every number.

        Raises:
            FreeBindError: A shard was altered, or rows are NaN, infinite or zero and not listed
                as missing.
        """
        found = find_all_bad_rows(self.array.verified(progress))
        found = {kind: np.setdiff1d(rows, self.missing) for kind, rows in found.items()}
        fix = "export these items again, or import with --bad-rows missing"
        refuse_bad_rows("a bank", self.folder, found, fix)


def require_plain(bank: Bank) -> None:
    """Raise a FreeBindError if the rows of a bank are only to be found."""
    if bank.role:
        raise FreeBindError(
            "these rows are only to be found: a hub correction has added columns to them",
            where=bank.folder,
            expected="plain rows",
            fix="write plain rows of this space: freebind fuse --plain --name ANOTHER",
        )


def _nearly_contiguous(rows: Integer[np.ndarray, " n"]) -> bool:
    """Return whether rows ascend and are more than half of the range that they span."""
    if len(rows) < 2 or rows[-1] - rows[0] >= 2 * len(rows):
        return False
    return bool((np.diff(rows) > 0).all())


@contextmanager
def bank_writer(
    folder: Path | str,
    about: BankAbout,
    *,
    dim: int,
    count: int,
    dtype: str = "float16",
    shard_rows: int = SHARD_ROWS,
) -> Iterator[ShardWriter]:
    """Return a context that writes a bank; at its end the bank is complete.

    Append all rows in order, from ``rows_done``; zeros for those listed as missing.

    Args:
        folder: Where the bank goes; see ``Split.bank_path``. It is locked meanwhile.
        about: What the rows are.
        dim: Columns.
        count: Rows: as many as the item list has.
        dtype: "float16" or "float32".
        shard_rows: Rows of a shard: the unit of resuming.

    Raises:
        FreeBindError: The folder holds another bank, another process writes it, or at the end rows
            are missing.
    """
    folder = Path(folder)
    with files.locked(folder, name=".writing"):
        parts = PartWriter(
            folder,
            dim=dim,
            count=count,
            dtype=dtype,
            about=about.to_json(),
            shard_rows=shard_rows,
        )
        if parts.finished:
            ShardedArray(folder).verify()
        with parts.claimed(parts.shards):  # an export may hold some
            writer = ShardWriter(parts)
            yield writer
            writer.close()
