"""What an export writes of a bank: all rows, or those of new items."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.exporting.ahead import Ahead
from encoders_torch.loading import without_place
from fb_jax import files
from fb_jax.banks import (
    Bank,
    BankAbout,
    Encoder,
    ItemList,
    PartWriter,
    Split,
    new_rows,
    open_bank,
    settle,
)
from fb_jax.banks.manifest import MANIFEST, PARTIAL, Manifest
from fb_jax.errors import FreeBindError, notice_once, require_range


@dataclass(frozen=True)
class ExportSettings:
    """How an export computes. Rows differ in their last bits between batch sizes.

    Attributes:
        dtype: Number format of the stored rows.
        batch: Items encoded together, 1 to 65536. Halved by itself if memory runs out.
        batch_mb: A batch also ends when its items, as read, take this many megabytes, 1 to 1048576.
        workers: Processes that read, 0 to 1024. 0 reads between the batches.
        read_ahead_mb: At most this many megabytes are read ahead, beside one batch, 1 to 1048576.
        read_seconds: An item that takes longer to read is left out, 1 to 86400. Needs workers.
        keep_minutes: What is done is kept after this many minutes, 0 to 1440.
        shard_rows: Rows in a shard, 1 to 16777216.
        shard_id: Number of this process, from 0 to --num-shards - 1.
        num_shards: Number of processes, 1 to 100000, each with every num-shards-th shard; or 1 if
            each of any number of them takes the next shard that no other has.
    """

    dtype: Literal["float16", "float32"] = "float16"
    batch: int = 64
    batch_mb: int = 256
    workers: int = 2
    read_ahead_mb: int = 512
    read_seconds: float = 300.0
    keep_minutes: float = 5.0
    shard_rows: int = 65536
    shard_id: int = 0
    num_shards: int = 1

    def __post_init__(self) -> None:
        require_range("export", 1, 1 << 16, batch=self.batch)
        sizes = {"batch_mb": self.batch_mb, "read_ahead_mb": self.read_ahead_mb}
        require_range("export", 1, 1 << 20, **sizes)
        require_range("export", 0, 1024, workers=self.workers)
        require_range("export", 1.0, 86400.0, read_seconds=self.read_seconds)
        require_range("export", 0.0, 1440.0, keep_minutes=self.keep_minutes)
        require_range("export", 1, 1 << 24, shard_rows=self.shard_rows)
        require_range("export", 1, 100_000, num_shards=self.num_shards)
        owner = f"with --num-shards {self.num_shards}, export"
        require_range(owner, 0, self.num_shards - 1, shard_id=self.shard_id)

    @property
    def batch_bytes(self) -> int:
        """Bytes at which a batch ends."""
        return self.batch_mb * 10**6

    def ahead(self, encoders: Iterable[FrozenEncoder]) -> Ahead:
        """Return how items are read ahead for some encoders."""
        return Ahead(
            workers=self.workers,
            most_bytes=self.read_ahead_mb * 10**6,
            seconds=self.read_seconds,
            pin=any(str(getattr(encoder, "device", "")).startswith("cuda") for encoder in encoders),
        )

    def share(self, count: int) -> int:
        """Return how many of ``count`` rows this process encodes."""
        starts = range(self.shard_id * self.shard_rows, count, self.num_shards * self.shard_rows)
        return sum(min(self.shard_rows, count - start) for start in starts)


@dataclass(frozen=True)
class Part:
    """What this call writes of a bank.

    Attributes:
        folder: Folder of the bank.
        writer: Writer of all its rows, or of new ones; None if the bank is whole.
        first: Row that is the first one of the writer.
    """

    folder: Path
    writer: PartWriter | None
    first: int = 0

    @property
    def stop(self) -> int:
        """Row after the last one of the writer."""
        return self.first + (self.writer.manifest.count if self.writer else 0)

    def is_there(self) -> bool:
        """Whether the bank has the rows; another process may have added the last ones."""
        path = self.folder / MANIFEST
        return path.exists() and Manifest.read(path).count >= self.stop


def open_part(
    encoder: Encoder,
    dim: int,
    items: ItemList,
    split: Split,
    space: str,
    modality: str,
    settings: ExportSettings,
) -> Part:
    """Return what is to be written of a bank: all of it, or the rows of new items.

    Raises:
        FreeBindError: Another bank of this name is there, or one of another encoder.
    """
    folder = split.bank_path(space, modality)
    settle(folder)
    count, encoder = _begun(folder, len(items)), _as_recorded(folder, encoder)
    about = BankAbout(space, modality, encoder, items.digest_of(count))
    if modality in split.spaces().get(space, []):
        bank = open_bank(split, space, modality)
        _require_same(bank, about, settings)
        if len(bank) == len(items):
            return Part(folder, None, len(bank))
        notice_once(f"{folder}: {len(items) - len(bank)} new items are encoded")
        about = BankAbout(space, modality, encoder, items.digest)
        rows = new_rows(bank, about, start=len(bank), count=len(items), late=("missing",))
        return Part(folder, rows, len(bank))
    writer = PartWriter(
        folder,
        dim=dim,
        count=count,
        dtype=settings.dtype,
        about=about.to_json(),
        late=("missing", "earlier"),
        shard_rows=settings.shard_rows,
    )
    return Part(folder, writer)


def _begun(folder: Path, count: int) -> int:
    """Return how many of ``count`` items a bank was begun for; the others are new since."""
    path = folder / PARTIAL
    unfinished = path.exists() and not (folder / MANIFEST).exists()
    return min(count, Manifest.read(path).count) if unfinished else count


def _as_recorded(folder: Path, encoder: Encoder) -> Encoder:
    """Return an encoder by the name that a bank has for it, if its folder was only moved."""
    path = next((folder / n for n in (MANIFEST, PARTIAL) if (folder / n).exists()), None)
    if path is None or encoder.weights_sha256 == Encoder.weights_sha256:
        return encoder
    here: Encoder = files.convert(
        Manifest.read(path).about.get("encoder"), Encoder, path, "no bank"
    )
    same = replace(encoder, name=here.name) == here
    return here if same and without_place(encoder.name) == without_place(here.name) else encoder


def _require_same(bank: Bank, about: BankAbout, settings: ExportSettings) -> None:
    """Raise a FreeBindError unless a bank is of the same encoder and dtype."""
    here, asked = (bank.encoder, bank.manifest.dtype), (about.encoder, settings.dtype)
    if here != asked:
        raise FreeBindError(
            "this bank was computed by another encoder, or stored in another format",
            where=bank.folder,
            expected=_described(*here),
            got=_described(*asked),
            fix="use the same encoder, weights, precision and --dtype; or choose another --space",
        )


def _described(encoder: Encoder, dtype: str) -> str:
    name, digest, licence = encoder.name, encoder.weights_sha256, encoder.licence
    return f"{name}, weights {digest[:12]}, licence {licence}, stored as {dtype}"
