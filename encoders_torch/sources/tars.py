"""WebDataset: tars whose members are samples, such as ``7.jpg``, ``7.txt`` and ``7.json``."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from encoders_torch.media import Media, MediaOptions
from encoders_torch.media.suffixes import suffixes
from encoders_torch.sources.files import on_disk
from encoders_torch.sources.folder import say_unread, shards_in
from encoders_torch.sources.options import SourceOptions
from encoders_torch.sources.source import Source
from encoders_torch.sources.table import TEXT, Fault, Row, Table, items_of
from encoders_torch.sources.tar_index import NAMES, NOWHERE, Member, read_member, tar_index
from fb_jax import files
from fb_jax.errors import FreeBindError, notice_once

SUFFIX = ".tar"
IN_TAR = re.compile(r"(.*?\.tar)/(.+)", re.IGNORECASE | re.DOTALL)
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
KEY, CAPTION, FIELDS = "__key__", "txt", "json"
LOOKED_AT = 1000
"""Samples of the first tar that are read to know the suffixes of the members."""


def open_tars(modality: str, path: Path, options: SourceOptions) -> Source:
    """Open a tar, the tars of a folder in the order of their names, or ``a-{000..123}.tar``.

    The id of a sample is ``TAR/KEY``, without the suffixes of both.
    """
    paths = shards_in(path, SUFFIX) if path.is_dir() else _expanded(str(path))
    for each in paths:
        files.open_regular(each, "a tar").close()
    folder = Path(os.path.commonpath([each.parent for each in paths]))
    shards = Shards(folder, paths, modality, suffixes(modality))
    items = items_of(shards.table(path), modality, options)
    if modality == TEXT:
        return Source(items)
    return Source(items, folder, options.media, TarMedia(folder, options.media))


def _expanded(pattern: str) -> list[Path]:
    """Return the paths that ``{000..123}`` stands for, as shells expand it."""
    if (found := RANGE.search(pattern)) is None:
        return [Path(pattern)]
    first, last = int(found[1]), int(found[2])
    counted = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    numbers = (str(number).zfill(len(found[1])) for number in counted)
    parts = (pattern[: found.start()] + number + pattern[found.end() :] for number in numbers)
    return [path for part in parts for path in _expanded(part)]


@dataclass(frozen=True)
class TarMedia:
    """Media that are members of tars.

    Attributes:
        folder: Folder of the tars.
        options: How media are read.
    """

    folder: Path
    options: MediaOptions

    def __call__(self, text: str) -> Media:
        """Read ``NAME.tar/MEMBER``."""
        found = IN_TAR.fullmatch(text)
        if found is None:
            raise FreeBindError(
                "this names no member of a tar", expected="NAME.tar/MEMBER", got=text
            )
        path = on_disk(self.folder, found[1])
        member = tar_index(path).find(found[2])
        with files.open_regular(path, "a tar") as file:
            return Media(Path(text), read_member(file, member), options=self.options)


Members = Mapping[str, Member]
"""The members of a sample, by suffix without the first dot."""


@dataclass(frozen=True)
class Shards:
    """Tars as a table: a row for each sample, a column for each suffix and field of its JSON.

    Attributes:
        folder: Folder of the tars.
        paths: The tars, in order.
        modality: Of text, members are captions. Others have a column of their own: the first
            member that they can read.
        known: Suffixes that the modality can read, with the dot.
    """

    folder: Path
    paths: list[Path]
    modality: str
    known: frozenset[str]

    def table(self, path: Path) -> Table:
        """Return the table; its columns are those of the first samples."""
        columns = dict.fromkeys([KEY])
        with files.open_regular(self.paths[0], "a tar") as tar:
            for _, members in islice(_samples(self.paths[0]), LOOKED_AT):
                columns |= dict.fromkeys(members)
                columns |= dict.fromkeys(_fields(tar, members) or {})
        content = CAPTION if self.modality == TEXT and CAPTION in columns else None
        if self.known:
            content, columns = self.modality, columns | {self.modality: None}
        return Table(path, tuple(columns), self._read, content, KEY)

    def _read(self, columns: tuple[str, ...]) -> Iterator[Row]:
        """Yield a row for each sample that has something in the columns; count what is left."""
        lacking, without = Counter[str](), 0
        for path in self.paths:
            shard = path.relative_to(self.folder).as_posix()
            with files.open_regular(path, "a tar") as tar:
                for key, members in _samples(path):
                    row = self._row(tar, shard, members, columns)
                    if row:
                        name = f"{shard[: -len(SUFFIX)]}/{key}"
                        yield row if isinstance(row, Fault) else row | {KEY: name}
                    without += not row
                    lacking.update(self._left(members, columns) if row else map(_end, members))
        if without:
            notice_once(f"{self.folder}: samples without {self.modality}: {without}")
        say_unread(self.folder, self.modality, lacking)

    def _row(self, tar: IO[bytes], shard: str, members: Members, columns: tuple[str, ...]) -> Row:
        wanted = {c: c for c in columns if c != self.modality}
        if self.modality in columns and (readable := self._readable(members)):
            wanted[self.modality] = readable[0]
        row: dict[str, Any] = {
            column: self._member(tar, shard, members[suffix])
            for column, suffix in wanted.items()
            if suffix in members
        }
        rest = [c for c in columns if c not in row and c not in (KEY, self.modality)]
        if rest and FIELDS in members:
            if (fields := _fields(tar, members)) is None:
                return Fault(f"{shard}/{members[FIELDS].name} is no JSON object")
            row |= {column: fields[column] for column in rest if column in fields}
        return row

    def _readable(self, members: Members) -> list[str]:
        """Return the suffixes of the members that the modality can read."""
        return [suffix for suffix in members if _end(suffix) in self.known]

    def _left(self, members: Members, columns: tuple[str, ...]) -> list[str]:
        """Return the ends of what could be read, but is not the first in its sample."""
        return list(map(_end, self._readable(members)[1:] if self.modality in columns else ()))

    def _member(self, tar: IO[bytes], shard: str, member: Member) -> str:
        """Return a caption, or the path of a medium."""
        if self.modality != TEXT:
            return f"{shard}/{member.name}"
        if member.offset == NOWHERE:
            return Fault(f"{shard}/{member.name} is a sparse file, or a link to no member")
        text = read_member(tar, member).decode(errors=NAMES)
        return text.removesuffix("\n").removesuffix("\r")


def _samples(path: Path) -> Iterator[tuple[str, Members]]:
    """Yield key and members of the samples of a tar; members of one sample follow each other."""
    split = ((*_split(member.name), member) for member in tar_index(path))
    for key, sample in groupby(split, itemgetter(0)):
        yield key, {suffix: member for _, suffix, member in sample}


def _end(suffix: str) -> str:
    return f".{suffix.rpartition('.')[2]}" if suffix else ""


def _split(name: str) -> tuple[str, str]:
    """Return the key of a member, up to the first dot in its name, and its suffix."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return folder + slash + stem, suffix.lower()


def _fields(tar: IO[bytes], members: Members) -> dict[str, Any] | None:
    """Return the JSON object of a sample; None if it has none."""
    if FIELDS not in members or members[FIELDS].offset == NOWHERE:
        return None
    try:
        fields = json.loads(read_member(tar, members[FIELDS]))
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
