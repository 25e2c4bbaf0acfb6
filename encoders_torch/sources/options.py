"""How sources are read: the options of an export, and of a call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from encoders_torch.media import MediaOptions
from fb_jax.errors import FreeBindError

Column = Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint="")]
Columns = Annotated[tuple[str, ...], arg(metavar="COLUMN ...", help_behavior_hint="")]


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Attributes:
        path_column: Column of the media or their paths in lists and tables; in tars, the suffix of
            the members, such as jpg. A usual name if not given.
        caption_column: Column of the captions. Several columns give several items a row, with the
            ids ID#0, ID#1 and so on. A usual name if not given.
        id_column: Column of the ids; - for none: paths, or numbers of the rows, are the ids. A
            usual name if not given.
        turn: Turn pictures as their EXIF data say; no encoder's authors do.
        frame_at: Second at which a video's frame is taken as its picture. The middle if not given.

    Raises:
        FreeBindError: A caption column is named twice, or no video has such a second.
    """

    path_column: Column = None
    caption_column: Columns = ()
    id_column: Column = None
    turn: Annotated[bool, arg(help_behavior_hint="(default: off)")] = False
    frame_at: Annotated[float | None, arg(metavar="SECONDS", help_behavior_hint="")] = None

    def __post_init__(self) -> None:
        if len(set(self.caption_column)) < len(self.caption_column):
            got = " ".join(self.caption_column)
            raise FreeBindError("--caption-column names a column twice", got=got)
        _ = self.media  # its check, for a source of captions, too

    def unused(self, modalities: Collection[str]) -> list[str]:
        """Return the options that were given, and that sources of these modalities do not use."""
        media = set(modalities) - {"text"}
        pictures = media - {"audio"}
        options = {
            "--path-column": (self.path_column, media),
            "--caption-column": (self.caption_column, "text" in modalities),
            "--turn": (self.turn, pictures),
            "--frame-at": (self.frame_at is not None, pictures),
        }
        return [name for name, (given, users) in options.items() if given and not users]

    @property
    def media(self) -> MediaOptions:
        """How media are read."""
        return MediaOptions(self.turn, self.frame_at)


PLAIN = SourceOptions()
