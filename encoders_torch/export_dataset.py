"""The items of a data set of the paper, as sources of an export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from encoders_torch.sources import Source, SourceOptions
from fb_jax import files
from fb_jax.banks import Split
from fb_jax.datasets import About, about_of, about_path, describe, read_content, write_content
from fb_jax.errors import FreeBindError, notice_once

CLASS = "class"
"""Modality that nothing encodes: the prompts of classes are texts."""


def open_dataset(name: str, root: Path, split: Split, options: SourceOptions) -> dict[str, Source]:
    """Return the media and texts of a data set; its split is made if it is not there.

    Args:
        name: Of the data set.
        root: Folder with its official list and its media.
        split: Where ``freebind data`` has written it, or would write it.
        options: How media are read. A split whose pictures are frames of videos has a second of its
            own, unless one is asked for.

    Raises:
        FreeBindError: The split holds another data set, or cannot be made; see ``read_content``.
    """
    about = about_of(split) or _made(name, root, split)
    if about.dataset != name:
        raise FreeBindError(
            "this split holds another data set",
            where=split.path,
            expected=name,
            got=about.dataset,
            fix="name another split with --split",
        )
    if unused := replace(options, turn=False, frame_at=None).unused(()):
        notice_once(f"a data set has columns of its own; not used: {', '.join(unused)}")
    if options.frame_at is None:
        options = replace(options, frame_at=about.frame_at)
    modalities = sorted(path.stem for path in split.path.glob("items/*.jsonl"))
    return {m: _source(split, m, root, options) for m in modalities if m != CLASS}


def _made(name: str, root: Path, split: Split) -> About:
    content = read_content(name, root)
    write_content(split, content)
    print("\n".join(describe(split, content)))
    return files.read_json(about_path(split), About)


def _source(split: Split, modality: str, root: Path, options: SourceOptions) -> Source:
    items = split.items(modality)
    return Source(items, None if modality == "text" else root, options.media, path=items.path)
