"""A bank: the embeddings of one modality of a split in one space, read as unit rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Integer

from fb_jax.banks.directions import find_all_bad_rows, refuse_bad_rows, unit_rows
from fb_jax.banks.manifest import Manifest
from fb_jax.banks.rows import Progress, no_progress
from fb_jax.banks.shards import ShardedArray
from fb_jax.banks.writers import ShardWriter
from fb_jax.errors import FreeBindError


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
        missing: Rows of the item list without an embedding, ascending.
    """

    space: str
    modality: str
    encoder: Encoder
    items_sha256: str = ""
    missing: Integer[np.ndarray, " m"] = field(
        default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False
    )


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
    """

    def __init__(
        self,
        array: BankArray,
        about: BankAbout,
        keep: Integer[np.ndarray, " n"] | None = None,
    ) -> None:
        self.array, self.about, self.keep = array, about, keep
        self.space, self.modality, self.encoder = about.space, about.modality, about.encoder
        self.items_sha256, self.missing = about.items_sha256, about.missing

    @classmethod
    def open(cls, folder: Path | str) -> Bank:
        """Open a bank on disk.

        Raises:
            FreeBindError: The folder holds no bank, or a damaged one.
        """
        array = ShardedArray(Path(folder))
        fields = array.manifest.about
        try:
            about = BankAbout(
                space=fields["space"],
                modality=fields["modality"],
                encoder=Encoder(**fields["encoder"]),
                items_sha256=fields["items_sha256"],
                missing=np.asarray(fields["missing"], np.int64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FreeBindError("not a bank", where=folder, got=repr(error)) from error
        return cls(array, about)

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
        return np.flatnonzero(present)

    def restrict(self, keep: Integer[np.ndarray, " n"]) -> Bank:
        """Return the bank of some rows of the item list."""
        every = np.array_equal(keep, np.arange(len(self.array)))
        return Bank(self.array, self.about, None if every else keep)

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


def _nearly_contiguous(rows: Integer[np.ndarray, " n"]) -> bool:
    """Return whether rows ascend and are more than half of the range that they span."""
    if len(rows) < 2 or rows[-1] - rows[0] >= 2 * len(rows):
        return False
    return bool((np.diff(rows) > 0).all())


def bank_writer(
    folder: Path | str,
    *,
    dim: int,
    count: int,
    dtype: str,
    space: str,
    modality: str,
    items_sha256: str,
    encoder: Encoder,
    missing: list[int],
    made_from: str = "unknown",
    **options: Any,
) -> ShardWriter:
    """Return a writer for a bank; append zeros for the rows listed as missing.

    Args:
        folder: Where the bank goes; see ``Split.bank_path``.
        dim: Columns.
        count: Rows: as many as the item list has.
        dtype: "float16" or "float32".
        space: Name of the space.
        modality: Name of the modality.
        items_sha256: Digest of the item list.
        encoder: What computed the embeddings.
        missing: Rows without an embedding in this space.
        made_from: Digest of what the rows are computed from, so that a writer never continues with
            the rows of another source.
        **options: Further arguments of ``ShardWriter``.
    """
    about = describe(space, modality, items_sha256, encoder, made_from)
    about["missing"] = sorted(missing)
    return ShardWriter(Path(folder), dim=dim, count=count, dtype=dtype, about=about, **options)


def describe(
    space: str, modality: str, items_sha256: str, encoder: Encoder, made_from: str
) -> dict[str, Any]:
    """Return the manifest's description of a bank, without the missing rows."""
    return {
        "space": space,
        "modality": modality,
        "items_sha256": items_sha256,
        "encoder": asdict(encoder),
        "made_from": made_from,
    }
