"""Item lists: what row i of a modality is. Each line is a JSON object: ``{"id": ..., ...}``.

``id`` names the item; ``caption`` (text) or ``path`` (a media file) is its content. You cannot add
rows to a list later: every bank records its digest, so that rows never mean other items.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import zip_longest
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.errors import FreeBindError

Item = dict[str, Any]


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
        """SHA-256 of the file; computed once in a process while the file stays the same."""
        stat = self.path.stat()
        return _digest(self.path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns)

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

    def row_of(self, item_id: str) -> int:
        """Return the row of an id.

        Raises:
            FreeBindError: No item has it.
        """
        for row, item in enumerate(self):
            if item["id"] == item_id:
                return row
        raise FreeBindError("there is no item with this id", where=self.path, got=item_id)

    def verify(self) -> None:
        """Read every item.

        Raises:
            FreeBindError: A line is malformed, or an id occurs twice.
        """
        seen: dict[str, int] = {}
        for row, item in enumerate(self):
            if (first := seen.setdefault(item["id"], row)) != row:
                raise FreeBindError(
                    "two items have the same id",
                    where=self.path,
                    got=f"{item['id']!r} in rows {first} and {row}",
                )


@lru_cache(maxsize=256)
def _digest(path: Path, _inode: int, _size: int, _changed: int) -> str:
    return files.sha256_of(path)


def write_items(path: Path, items: Iterable[Item]) -> ItemList:
    """Write an item list, atomically; the same list may be written again.

    Args:
        path: Of the list.
        items: Read once, one at a time.

    Raises:
        FreeBindError: Another list is there already, which banks may rely on.
    """
    lines = _lines(items)
    if path.exists():
        _require_same(path, lines)
    else:
        files.write_atomic(path, lambda file: file.writelines(lines))
    return ItemList(path)


def items_sha256(items: Iterable[Item]) -> str:
    """Return the digest that a list of these items has."""
    return files.sha256_of_bytes(b"".join(_lines(items)))


def _lines(items: Iterable[Item]) -> Iterator[bytes]:
    return (files.canonical_json(item) + b"\n" for item in items)


def _require_same(path: Path, lines: Iterator[bytes]) -> None:
    with files.open_regular(path, "an item list") as file:
        for number, (here, asked) in enumerate(zip_longest(file, lines), 1):
            if here != asked:
                raise FreeBindError(
                    "another item list is already here",
                    where=f"{path}, line {number}",
                    expected=f"the same items: a list is fixed once written ({_shown(here)})",
                    got=f"other items ({_shown(asked)})",
                    fix="use another split or root for other items",
                )


def _shown(line: bytes | None) -> str:
    return "the end of the list" if line is None else line[:80].decode(errors="replace").strip()
