"""Members of tar files: found once with Python's tarfile, then read at their offset."""

from __future__ import annotations

import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from encoders_torch.explain import explained
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once

NAMES = "surrogateescape"
NOWHERE = -1
BLOCK = 1 << 20


class Member(NamedTuple):
    """A file in a tar: its name, and where its bytes are.

    They are ``NOWHERE`` in one piece of a sparse file, and of a link to something else.
    """

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

    def find(self, name: str) -> Member:
        """Return the member of a name.

        Raises:
            FreeBindError: There is none.
        """
        if (number := self.number(name)) is None:
            raise FreeBindError("a tar has no such member", where=self.path, got=name)
        return Member(name, int(self.offsets[number]), int(self.sizes[number]))

    def number(self, name: str) -> int | None:
        """Return the number of the member of a name; None if there is none."""
        place = int(np.searchsorted(self.hashes, hashed := np.uint64(_hash(name))))
        if place == len(self.hashes) or self.hashes[place] != hashed:
            return None
        return int(self.order[place])


def read_member(file: IO[bytes], member: Member) -> bytes:
    """Read a member of an open tar.

    Raises:
        FreeBindError: The tar ends before, or the member is not in one piece.
    """
    if member.offset == NOWHERE:
        got = f"{member.name}: a sparse file, or a link to something that is not in the tar"
        raise FreeBindError("a member of a tar cannot be read", where=file.name, got=got)
    file.seek(member.offset)
    data = file.read(member.size)
    if len(data) < member.size:
        raise FreeBindError("a tar ends inside a member", where=file.name, got=member.name)
    return data


def tar_index(path: Path) -> TarIndex:
    """Find the files in a tar, without hidden ones. A process does it once while a tar is the same.

    A link stands for the file that it leads to: some programs store equal files so.

    Raises:
        FreeBindError: It is missing, compressed, damaged or cut off, or two members have one name.
    """
    return _indexed(path, files.state_of(path, "a tar"))


@cache
def _indexed(path: Path, _state: files.State) -> TarIndex:
    names, offsets, sizes, hashes = bytearray(), array("q"), array("q"), array("Q")
    links: dict[int, str] = {}
    for member, target in _members(path):
        if target is not None:
            links[len(offsets)] = target
        names += member.name.encode(errors=NAMES) + b"\0"
        offsets.append(member.offset)
        sizes.append(member.size)
        hashes.append(_hash(member.name))
    order = np.argsort(hashed := np.array(hashes, np.uint64), kind="stable")
    where = (np.array(offsets, np.int64), np.array(sizes, np.int64))
    index = TarIndex(path, bytes(names), *where, hashed[order], order)
    _require_different(index)
    _follow(links, index)
    return index


def _follow(links: dict[int, str], index: TarIndex) -> None:
    """Give links, by their numbers, the bytes of the members that they lead to."""
    for number, target in links.items():
        if (found := index.number(target)) is not None:
            index.offsets[number], index.sizes[number] = index.offsets[found], index.sizes[found]


def _members(path: Path) -> Iterator[tuple[Member, str | None]]:
    """Yield the files of a tar, and where each leads if it is a link."""
    what = "a tar cannot be read: it is damaged, cut off or compressed"
    with (
        files.open_regular(path, "a tar") as file,
        explained(what, where=path),
        tarfile.open(fileobj=file, mode="r:") as tar,
    ):
        while (found := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            name = found.name.removeprefix("./")
            if not _shown(name):
                continue
            if found.isreg():
                offset = NOWHERE if found.issparse() else found.offset_data
                yield Member(name, offset, found.size), None
            elif found.islnk() or found.issym():
                folder = dirname(name) if found.issym() else ""
                yield Member(name, NOWHERE, 0), normpath(join(folder, found.linkname))
        _require_end(file, tar.offset, path)


def _shown(name: str) -> bool:
    return not name.rpartition("/")[2].startswith(".")


def _require_end(file: IO[bytes], offset: int, path: Path) -> None:
    """Raise a FreeBindError unless a tar ends where its last member does.

    tarfile takes whatever is no header for the end, and the mark of an end for the end of all.
    """
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if mark.strip(b"\0"):
        raise FreeBindError("a tar is damaged", where=path, got=f"no header at byte {offset}")
    if not mark:
        notice_once(f"{path}: has no end mark; the program that wrote it may have been stopped")
    if any(block.strip(b"\0") for block in iter(partial(file.read, BLOCK), b"")):
        fix = "tars are joined with: tar --concatenate"
        raise FreeBindError("a tar goes on after its end mark", where=path, fix=fix)


def _require_different(index: TarIndex) -> None:
    twice = np.flatnonzero(index.hashes[1:] == index.hashes[:-1])
    if len(twice):
        name = list(index)[index.order[twice[0]]].name
        raise FreeBindError("two members of a tar have the same name", where=index.path, got=name)


def _hash(name: str) -> int:
    digest = blake2b(name.encode(errors=NAMES), digest_size=8).digest()
    return int.from_bytes(digest, "little")
