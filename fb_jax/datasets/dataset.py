"""The one shape of all data sets: what their official lists say, and what is known about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """An item of a list.

    Attributes:
        id: Its name in the data set.
        names: Modality to the names that its file may have, without a suffix, relative to one of
            the folders of the modality. The first is the usual one.
        captions: All its captions, in the order of the list.
        labels: Ids of its classes.
    """

    id: str
    names: Mapping[str, Sequence[str]]
    captions: Sequence[str] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Listing:
    """What an official list says.

    Attributes:
        path: The list.
        entries: Its items, in its order.
        classes: Id to name, in the order of the classes. A name is empty if the list has none.
    """

    path: Path
    entries: Sequence[Entry]
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSet:
    """One of the data sets of the paper's Table 1.

    Attributes:
        title: What people call it, with its version.
        read: Reads the list of a subset below a folder.
        subsets: Official subset to the number of its items. The first is the paper's.
        folders: Modality to the folders that may hold its files, relative to the same folder;
            ``{subset}`` stands for the subset. The first is the usual one.
        paper: Modality to the number of items in Table 1 [P].
        source: Where list and media come from.
        licence: Who may use it for what.
        captions: Most captions of an item that are taken; 0 takes all.
        templates: Names of the templates of its prompts, if it has classes.
        class_names: Where the names of its classes come from.
        note: What people should know who compare the counts.
        frame_at: Second of a video at which its picture is taken, where there is no picture.
    """

    title: str
    read: Callable[[Path, str], Listing]
    subsets: Mapping[str, int]
    folders: Mapping[str, Sequence[str]]
    paper: Mapping[str, int]
    source: str
    licence: str
    captions: int = 0
    templates: Sequence[str] = ()
    class_names: str = "list"
    note: str = ""
    frame_at: float | None = None

    @property
    def default(self) -> str:
        """The subset that the paper uses."""
        return next(iter(self.subsets))
