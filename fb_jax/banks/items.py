"""Item lists: what row i of a modality is. Each line is a JSON object: ``{"id": ..., ...}``.

``id`` names the item; ``caption`` (text) or ``path`` (a media file) is its content. A list only
grows, at its end, so that rows never mean other items: every bank records the digest of the items
that it has. Rows of removed items keep their numbers, which are in ``MODALITY.removed.json``.
"""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice, zip_longest
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Integer

from fb_jax import files
from fb_jax.banks.names import nfc
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, Sha256

Item = dict[str, Any]
Fix = Callable[[], str] | None


@dataclass(frozen=True)
class Removed:
    """Rows of an item list that were removed.

    Attributes:
        rows: Their numbers, in the order in which they were removed.
        count: Items that the list had at the last removal.
        items_sha256: Digest of these.
    """

    rows: list[Count]
    count: Count
    items_sha256: Sha256


class _Id(msgspec.Struct):
    """What every item has."""

    id: str


_parse_flat = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode
"""Parses nearly every item: fast, since there is no depth to check."""


class ItemList:
    """An item list on disk; only line offsets are held in memory.

    Args:
        path: A ``.jsonl`` file.

    Raises:
        FreeBindError: There is no such file.
    """

    def __init__(self, path: Path) -> None:
        files.open_regular(path, "an item list").close()
        self.path = path

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the lines; computed once in a process while the file stays the same."""
        return self.digest_of(len(self))

    def digest_of(self, count: int) -> str:
        """Return the SHA-256 of the first ``count`` lines: the digest that the list had then."""
        return _digest(*self._state(), count)

    def length_at(self, digest: str) -> int | None:
        """Return how many items the list had when it had a digest; None if it never had it."""
        return len(self) if digest == self.digest else _length_at(*self._state(), digest)

    def _state(self) -> tuple[Path, int, int, int]:
        return self.path.resolve(), *files.state_of(self.path, "an item list")

    @property
    def removed_path(self) -> Path:
        """Where the removed rows are listed."""
        return self.path.with_suffix(".removed.json")

    @cached_property
    def removed(self) -> Integer[np.ndarray, " r"]:
        """Rows that were removed, in the order in which they were.

        Raises:
            FreeBindError: The record of them is damaged, or belongs to another list.
        """
        if not self.removed_path.exists():
            return np.empty(0, np.int64)
        found = files.read_json(self.removed_path, Removed)
        fits = found.count <= len(self) and found.items_sha256 == self.digest_of(found.count)
        twice = len(set(found.rows)) < len(found.rows)
        if not fits or twice or any(row >= found.count for row in found.rows):
            raise FreeBindError(
                "the removed rows belong to another item list",
                where=self.removed_path,
                expected=f"different rows below {len(self)} of {self.path}",
                got=f"{len(found.rows)} rows of {found.count} items, SHA-256 {found.items_sha256}",
                fix="restore the file that belongs to this list",
            )
        return np.array(found.rows, np.int64)

    def ends_whole(self) -> bool:
        """Whether the last line has its line feed, so that lines can be added after it."""
        return not len(self) or self._bytes[-1:] == b"\n"

    def present(self) -> Iterator[tuple[int, Item]]:
        """Yield row and item of all items that were not removed."""
        removed = set(self.removed.tolist())
        return ((row, item) for row, item in enumerate(self) if row not in removed)

    @cached_property
    def _offsets(self) -> np.ndarray:
        with files.open_regular(self.path) as file:
            ends = np.cumsum(np.fromiter((len(line) for line in file), np.int64))
        return np.concatenate([np.zeros(1, np.int64), ends])

    @cached_property
    def _bytes(self) -> mmap:
        """The file, mapped: to open it for every row would take longer than to read it."""
        with files.open_regular(self.path) as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Item:
        if not 0 <= row < len(self):
            raise FreeBindError(
                "there is no such row",
                where=self.path,
                expected=f"0 to {len(self) - 1}",
                got=row,
            )
        return self._parse(row, self._bytes[self._offsets[row] : self._offsets[row + 1]])

    def __iter__(self) -> Iterator[Item]:
        with (
            files.explained("an item list cannot be read", self.path),
            files.open_regular(self.path) as file,
        ):
            for row, line in enumerate(file):
                yield self._parse(row, line)

    def _parse(self, row: int, line: bytes) -> Item:
        try:
            flat: Item = _parse_flat(line)
        except (msgspec.MsgspecError, UnicodeError):
            return self._parse_any(row, line)
        return flat if isinstance(flat.get("id"), str) else self._parse_any(row, line)

    def _parse_any(self, row: int, line: bytes) -> Item:
        """Return the item in a line, or raise the error that says what is wrong."""
        where, line = f"{self.path}, line {row + 1}", line if row else line.removeprefix(BOM_UTF8)
        item: Item = files.parse_json(line, "an item is malformed", where, dict[str, Any])
        if not isinstance(item.get("id"), str):
            raise FreeBindError(
                "an item is malformed",
                where=where,
                expected='a JSON object with an "id", a string',
                got=line[:80].decode(errors="replace").strip(),
            )
        return item

    def ids(self) -> Iterator[tuple[int, str]]:
        """Yield row and id, in NFC, of all items that were not removed.

        Fast: the rest of an item is not looked at.
        """
        decode, removed = msgspec.json.Decoder(_Id).decode, set(self.removed.tolist())
        with (
            files.explained("an item list cannot be read", self.path),
            files.open_regular(self.path) as file,
        ):
            for row, line in enumerate(file):
                if row not in removed:
                    try:
                        name = decode(line).id
                    except (msgspec.MsgspecError, UnicodeError, RecursionError):
                        name = self._parse(row, line)["id"]  # or the error that says what is wrong
                    yield row, nfc(name)

    def row_of(self, item_id: str) -> int:
        """Return the row of an id, in either spelling of its accents.

        Raises:
            FreeBindError: No item has it.
        """
        for row, name in self.ids():
            if name == nfc(item_id):
                return row
        raise FreeBindError("there is no item with this id", where=self.path, got=item_id)

    def verify(self) -> None:
        """Read every item.

        Raises:
            FreeBindError: A line is malformed, or two items that were not removed have one id.
        """
        seen: dict[str, int] = {}
        for row, item in self.present():
            if (first := seen.setdefault(item["id"], row)) != row:
                raise FreeBindError(
                    "two items have the same id",
                    where=self.path,
                    got=f"{item['id']!r} in rows {first} and {row}",
                )


@lru_cache(maxsize=256)
def _digest(path: Path, _inode: int, _size: int, _changed: int, count: int) -> str:
    """Return the SHA-256 of the first ``count`` lines of a file."""
    hashed = hashlib.sha256()
    with files.open_regular(path) as file:
        for line in islice(file, count):
            hashed.update(line)
    return hashed.hexdigest()


@lru_cache(maxsize=256)
def _length_at(path: Path, _inode: int, _size: int, _changed: int, digest: str) -> int | None:
    """Return how many of the first lines of a file have a digest."""
    hashed = hashlib.sha256()
    with files.open_regular(path) as file:
        for count, line in enumerate(file):
            if hashed.hexdigest() == digest:
                return count
            hashed.update(line)
    return None


def write_items(path: Path, items: Iterable[Item], fix: Fix = None) -> ItemList:
    """Write an item list, atomically; the same list may be written again.

    Args:
        path: Of the list.
        items: Read once, one at a time.
        fix: Returns what to do if another list is there.

    Raises:
        FreeBindError: Another list is there already, which banks may rely on.
    """
    lines = lines_of(items)
    if path.exists():
        require_same(path, lines, fix=fix)
    else:
        files.write_atomic(path, lambda file: file.writelines(lines))
    return ItemList(path)


def items_sha256(items: Iterable[Item]) -> str:
    """Return the digest that a list of these items has."""
    return files.sha256_of_bytes(b"".join(lines_of(items)))


def lines_of(items: Iterable[Item]) -> Iterator[bytes]:
    """Yield the lines of a list of items."""
    return (files.canonical_json(item) + b"\n" for item in items)


def require_same(
    path: Path, lines: Iterator[bytes], start: int = 0, stop: int | None = None, fix: Fix = None
) -> None:
    """Raise a FreeBindError unless rows ``start`` to ``stop`` of a list are these lines.

    Lines that differ only in how they spell accents (NFC, NFD) are the same.
    """
    with files.open_regular(path, "an item list") as file:
        known = islice(file, start, stop)
        for number, (here, asked) in enumerate(zip_longest(known, lines), start + 1):
            if here != asked and _spelled_alike(here) != _spelled_alike(asked):
                raise FreeBindError(
                    "another item list is already here",
                    where=f"{path}, line {number}",
                    expected=f"the same items: a list is fixed once written ({_shown(here)})",
                    got=f"other items ({_shown(asked)})",
                    fix=fix() if fix else "use another split or root for other items",
                )


def _spelled_alike(line: bytes | None) -> str | None:
    return None if line is None else nfc(line.decode(errors="replace"))


def _shown(line: bytes | None) -> str:
    return "the end of the list" if line is None else line[:80].decode(errors="replace").strip()
