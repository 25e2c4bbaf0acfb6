"""Writes a data set as a split of a bank root, and reads what a split says of its data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.banks import Split, write_items
from fb_jax.banks.items import lines_of
from fb_jax.banks.split import copy_pairs
from fb_jax.datasets.content import Content
from fb_jax.errors import FreeBindError

ABOUT = "dataset.json"
MISSING = "missing.jsonl"


@dataclass(frozen=True)
class About:
    """What ``dataset.json`` of a split says of its data set, as far as others need it.

    Attributes:
        dataset: Its name.
        version: Its version.
        templates: Prompts of its classes, with a place for the name.
        frame_at: Second of a video at which its picture is taken; None if none is.
    """

    dataset: str
    version: str = ""
    templates: list[str] = field(default_factory=list)
    frame_at: float | None = None


def about_path(split: Split) -> Path:
    """Return where a split says which data set it holds."""
    return split.path / ABOUT


def about_of(split: Split) -> About | None:
    """Return what a split says of its data set; None if it says nothing."""
    path = about_path(split)
    return files.read_json(path, About) if path.exists() else None


def write_content(split: Split, content: Content) -> None:
    """Write item lists, pair tables, what is missing, and ``dataset.json``, which comes last.

    The same content may be written again: what is there is compared.

    Raises:
        FreeBindError: The split holds something else.
    """
    path, tables = about_path(split), content.tables
    with split.writing():
        if path.exists():
            _require_same(split, content.about)
        for modality, items in tables.items.items():
            write_items(split.items_path(modality), items, lambda: _remedy(split))
        for pair, table in tables.pairs.items():
            copy_pairs(split, pair, table)
        if content.missing:
            lines = list(lines_of(content.missing))
            files.write_atomic(split.path / MISSING, lambda file: file.writelines(lines))
        if not path.exists():
            files.write_json(path, content.about)


def _require_same(split: Split, wanted: dict[str, Any]) -> None:
    """Raise a FreeBindError unless a split was made from the same list, disk and choices."""
    found = files.read_json(about_path(split), dict[str, Any])
    if found != files.json_types(wanted):
        here, asked = files.differences(found, files.json_types(wanted))
        raise FreeBindError(
            "this split was made from another list, other media, or other choices",
            where=about_path(split),
            expected=f"{asked} (asked for)",
            got=f"{here} (already there)",
            fix=_remedy(split),
        )


def _remedy(split: Split) -> str:
    return (
        "--split NAME makes a new split beside this one; or delete the folder "
        f"{split.path}, with its embeddings, and make it again"
    )
