"""One media item: a file, or bytes that stand for one, and the part of it that counts."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders_torch.media.segments import fragment, seconds_text
from fb_jax import files
from fb_jax.errors import FreeBindError

TURNED = ", pictures turned by EXIF"

Content = io.BufferedReader | io.BytesIO
"""An opened item."""


@dataclass(frozen=True)
class MediaOptions:
    """How media are read. Rows depend on it, so manifests say it.

    Attributes:
        turn: Turn pictures as their EXIF data say, and frames as their video says. No encoder's
            authors do.
        frame_at: Second of a video, or of the segment of it that counts, whose frame is taken as
            its picture; None is the middle.

    Raises:
        FreeBindError: No video has such a second.
    """

    turn: bool = False
    frame_at: float | None = None

    def __post_init__(self) -> None:
        if self.frame_at is not None and not 0 <= self.frame_at < float("inf"):
            raise FreeBindError(
                "no video has such a frame", expected="a second, from 0", got=self.frame_at
            )

    def describe(self) -> str:
        """Return what differs from the defaults, to be added to an encoder's name."""
        turned = TURNED if self.turn else ""
        return turned + (
            "" if self.frame_at is None else f", frame at {seconds_text(self.frame_at)} s"
        )

    @staticmethod
    def described(name: str) -> MediaOptions:
        """Return the options that an encoder's name in a manifest ends with."""
        second = re.search(r", frame at (\S+) s$", name)
        return MediaOptions(TURNED in name, float(second[1]) if second else None)


@dataclass(frozen=True)
class Media(os.PathLike):
    """A media item. Where a whole file is meant, it can be used as a path.

    What was decoded is kept as long as the object, so that several encoders share one reading.
    Copies and pickles start without it.

    Attributes:
        path: The file; beside ``data`` it only names the item and its kind.
        data: The bytes of the file, if they are not in a file of their own.
        start: First second that counts.
        stop: Second at which the part that counts ends; None is the end.
        options: How it is read.

    Raises:
        FreeBindError: The part that counts is empty.
    """

    path: Path
    data: bytes | None = field(default=None, repr=False)
    start: float = 0.0
    stop: float | None = None
    options: MediaOptions = MediaOptions()
    _decoded: dict[Hashable, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 <= self.start < (float("inf") if self.stop is None else self.stop):
            raise FreeBindError(
                "a segment is empty",
                where=self,
                expected="a start in seconds, from 0, and a later stop",
            )

    def __str__(self) -> str:
        return str(self.path) + (fragment(self.start, self.stop) if self.part else "")

    def __reduce__(self) -> tuple[type[Media], tuple[Any, ...]]:
        return Media, (self.path, self.data, self.start, self.stop, self.options)

    def once(self, key: Hashable, decode: Callable[[], Any]) -> Any:
        """Return what a function returned when it was first called under a key.

        Callers must not change it: others get the same object.
        """
        if key not in self._decoded:
            self._decoded[key] = decode()
        return self._decoded[key]

    @property
    def part(self) -> bool:
        """Whether only a part of the item counts."""
        return self.start > 0 or self.stop is not None

    def span(self, rate: int) -> tuple[int, int | None]:
        """Return the first sample that counts, and the one after the last; None is the end.

        There is always a sample between them.
        """
        first = round(self.start * rate)
        return first, None if self.stop is None else max(round(self.stop * rate), first + 1)

    def __fspath__(self) -> str:
        if self.data is not None or self.part:
            raise FreeBindError(
                "this item is no file of its own",
                where=self,
                fix="read it with encoders_torch.media.read_image or read_channels",
            )
        return str(self.path)

    def special(self) -> str | None:
        """Return what a named pipe, device or socket is; such a thing must not be opened."""
        return files.special(self.path) if self.data is None else None

    def open(self) -> Content:
        """Open the content; never a named pipe or a device.

        Raises:
            FreeBindError: There is no such file, or it is something else.
        """
        return files.open_regular(self.path) if self.data is None else io.BytesIO(self.data)

    def digest(self) -> str:
        """Return the SHA-256 of the content, and of which part of it counts."""
        whole = self.once("digest", self._digest_of_all)
        return files.sha256_of_json([whole, self.start, self.stop]) if self.part else whole

    def _digest_of_all(self) -> str:
        return files.sha256_of(self.path) if self.data is None else files.sha256_of_bytes(self.data)

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.path.stat().st_size if self.data is None else len(self.data)


def as_media(item: Media | Path | str) -> Media:
    """Return an item that may be given as a path."""
    return item if isinstance(item, Media) else Media(Path(item))
