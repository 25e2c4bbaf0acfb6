"""Members of tar files: found once with Python's tarfile, then read at their offset."""

from __future__ import annotations

import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from encoders_torch.explain import explained
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once

NAMES = "surrogateescape"


class Member(NamedTuple):
    """A file in a tar: its name, and where its bytes are."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarIndex:
    """Where the members of a tar are: about 24 bytes for each, and their names. No file is open.

    Attributes:
        path: The tar.
        names: Names in the order of the tar, each with a null character after it.
        offsets: ``[n]`` first bytes, in this order.
        sizes: ``[n]`` numbers of bytes.
        hashes: ``[n]`` hashes of the names, ascending.
        order: ``[n]`` numbers of the members with these hashes.
    """

    path: Path
    names: bytes
    offsets: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]
    hashes: UInt64[np.ndarray, " n"]
    order: Int64[np.ndarray, " n"]

    def __iter__(self) -> Iterator[Member]:
        start = 0
        for offset, size in zip(self.offsets.tolist(), self.sizes.tolist(), strict=True):
            end = self.names.index(b"\0", start)
            yield Member(self.names[start:end].decode(errors=NAMES), offset, size)
            start = end + 1

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            FreeBindError: There is none of this name, or the tar has changed.
        """
        place = int(np.searchsorted(self.hashes, hashed := np.uint64(_hash(name))))
        if place == len(self.hashes) or self.hashes[place] != hashed:
            raise FreeBindError("a tar has no such member", where=self.path, got=name)
        number = self.order[place]
        member = Member(name, int(self.offsets[number]), int(self.sizes[number]))
        with files.open_regular(self.path, "a tar") as file:
            return read_member(file, member)


def read_member(file: IO[bytes], member: Member) -> bytes:
    """Read a member of an open tar."""
    file.seek(member.offset)
    data = file.read(member.size)
    if len(data) < member.size:
        raise FreeBindError("a tar ends inside a member", where=file.name, got=member.name)
    return data


@cache
def tar_index(path: Path) -> TarIndex:
    """Find the regular files in a tar, without hidden ones. A process does it once.

    Raises:
        FreeBindError: It is missing, compressed, damaged or cut off, or two members have one name.
    """
    names, offsets, sizes, hashes = bytearray(), array("q"), array("q"), array("Q")
    for member in _members(path):
        names += member.name.encode(errors=NAMES) + b"\0"
        offsets.append(member.offset)
        sizes.append(member.size)
        hashes.append(_hash(member.name))
    order = np.argsort(hashed := np.array(hashes, np.uint64), kind="stable")
    where = (np.array(offsets, np.int64), np.array(sizes, np.int64))
    index = TarIndex(path, bytes(names), *where, hashed[order], order)
    _require_different(index)
    return index


def _members(path: Path) -> Iterator[Member]:
    what = "a tar cannot be read: it is damaged, cut off or compressed"
    with (
        files.open_regular(path, "a tar") as file,
        explained(what, where=path),
        tarfile.open(fileobj=file, mode="r:") as tar,
    ):
        while (found := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            name = found.name.removeprefix("./")
            if found.isreg() and not found.issparse() and _shown(name):
                yield Member(name, found.offset_data, found.size)
        _require_end(file, tar.offset, path)


def _shown(name: str) -> bool:
    return not name.rpartition("/")[2].startswith(".")


def _require_end(file: IO[bytes], offset: int, path: Path) -> None:
    """Raise a FreeBindError unless a tar ends where its last member does.

    tarfile takes whatever is no header for the end.
    """
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if mark.strip(b"\0"):
        raise FreeBindError("a tar is damaged", where=path, got=f"no header at byte {offset}")
    if not mark:
        notice_once(f"{path}: has no end mark; the program that wrote it may have been stopped")


def _require_different(index: TarIndex) -> None:
    twice = np.flatnonzero(index.hashes[1:] == index.hashes[:-1])
    if len(twice):
        name = list(index)[index.order[twice[0]]].name
        raise FreeBindError("two members of a tar have the same name", where=index.path, got=name)


def _hash(name: str) -> int:
    digest = blake2b(name.encode(errors=NAMES), digest_size=8).digest()
    return int.from_bytes(digest, "little")
