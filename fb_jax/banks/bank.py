"""A bank: the embeddings of one modality of a split in one space, read as unit rows."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Integer

from fb_jax.banks.shards import Progress, ShardedArray, ShardWriter, no_progress
from fb_jax.errors import FreeBindError


@dataclass(frozen=True)
class Encoder:
    """Where embeddings come from: what made them, by which weights, under which licence."""

    name: str
    weights_sha256: str = "unknown"
    licence: str = "unknown"


def unit_rows(rows: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Return rows as float32, each divided by its L2 norm; a zero row stays zero."""
    rows = np.array(rows, np.float32)
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows /= np.where(norm == 0, np.float32(1), norm)[:, None]
    return rows


class Bank:
    """The embeddings of one modality in one space; row i belongs to item i of the modality.

    Indexing gives float32 unit rows ``[r, d]``, read from disk when asked for.

    Args:
        folder: A sharded array with a bank's ``about``.
        keep: Row numbers ``[n]`` to restrict the bank to; None keeps all.

    Raises:
        FreeBindError: The folder holds no bank, or a damaged one.
    """

    def __init__(self, folder: Path, keep: Integer[np.ndarray, " n"] | None = None) -> None:
        self.array = ShardedArray(folder)
        self.keep = keep
        about = self.array.manifest.about
        try:
            self.space: str = about["space"]
            self.modality: str = about["modality"]
            self.items_sha256: str = about["items_sha256"]
            self.missing = np.asarray(about["missing"], np.int64)
            self.encoder = Encoder(**about["encoder"])
        except (KeyError, TypeError, ValueError) as error:
            raise FreeBindError("this array is no bank", where=folder, got=repr(error)) from error

    @property
    def folder(self) -> Path:
        """Where the bank is."""
        return self.array.folder

    @property
    def fingerprint(self) -> str:
        """Names the exact bytes of the whole bank, whatever rows are kept here."""
        return self.array.manifest.fingerprint

    @property
    def shape(self) -> tuple[int, int]:
        """Rows kept and dimensions."""
        return len(self), self.array.manifest.dim

    def __len__(self) -> int:
        return len(self.array) if self.keep is None else len(self.keep)

    def __getitem__(self, rows: slice | Integer[np.ndarray, " r"]) -> Float32[np.ndarray, "r d"]:
        return unit_rows(self.array[rows if self.keep is None else self.keep[rows]])

    def present(self) -> Integer[np.ndarray, " n"]:
        """Return the rows of the item list that this space has an embedding of."""
        return np.setdiff1d(np.arange(len(self.array)), self.missing)

    def restrict(self, keep: Integer[np.ndarray, " n"]) -> Bank:
        """Return the bank of some rows of the item list."""
        every = np.array_equal(keep, np.arange(len(self.array)))
        restricted = copy.copy(self)
        restricted.keep = None if every else keep
        return restricted

    def verify(self, progress: Progress = no_progress) -> None:
        """Read the whole bank: every digest, every number.

        Raises:
            FreeBindError: A shard was altered, or rows are NaN, infinite or zero and not listed
                as missing.
        """
        bad: dict[str, list[int]] = {"NaN or infinite": [], "zero": []}
        for start, shard in self.array.verified(progress):
            for kind, rows in find_bad_rows(shard).items():
                bad[kind] += (start + np.setdiff1d(rows, self.missing - start)).tolist()
        for kind, found in bad.items():
            if found:
                raise FreeBindError(
                    f"a bank holds {kind} rows",
                    where=self.folder,
                    expected="finite, non-zero rows, or their numbers listed as missing",
                    got=f"{len(found)} {kind} rows, the first is row {found[0]}",
                    fix="export these items again, or import with --bad-rows missing",
                )


def find_bad_rows(rows: Float[np.ndarray, "n d"]) -> dict[str, np.ndarray]:
    """Return the numbers of the rows that have no direction, by kind."""
    with np.errstate(invalid="ignore", over="ignore"):
        norm = np.linalg.norm(np.asarray(rows, np.float32), axis=1)
    return {
        "NaN or infinite": np.flatnonzero(~np.isfinite(norm)),
        "zero": np.flatnonzero(norm == 0),
    }


def bank_writer(
    folder: Path,
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
        encoder: What made the embeddings.
        missing: Rows that this space has no embedding of.
        made_from: Digest of what the rows are computed from, so that a writer never goes on with
            another source's rows.
        **options: Passed on to ``ShardWriter``.
    """
    about = describe(space, modality, items_sha256, encoder, made_from)
    about["missing"] = sorted(missing)
    return ShardWriter(folder, dim=dim, count=count, dtype=dtype, about=about, **options)


def describe(
    space: str, modality: str, items_sha256: str, encoder: Encoder, made_from: str
) -> dict[str, Any]:
    """Return what a bank's manifest says of its rows, but for those that are missing."""
    return {
        "space": space,
        "modality": modality,
        "items_sha256": items_sha256,
        "encoder": asdict(encoder),
        "made_from": made_from,
    }
