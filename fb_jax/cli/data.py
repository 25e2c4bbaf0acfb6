"""``freebind data``: a data set of the paper as a split of a bank root. No JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional

from fb_jax import files
from fb_jax.banks import Split, split_in
from fb_jax.datasets import MISSING, Choice, Content, named, read_content, split_name, write_content

SHOWN = 5
COLUMNS = {"listed": "in the list", "here": "on the disk", "paper": "in the paper"}


def data(
    name: Annotated[str, Positional],
    root: Path,
    out: Path,
    split: str | None = None,
    choice: OmitArgPrefixes[Choice] = Choice(),  # noqa: B008  (frozen)
) -> None:
    """Make a split of a data set of the paper, from its official list and media.

    The data sets are audiocaps, clotho, vggss, flickrnet, coco, flickr30k, esc50, audioset and
    imagenet; docs/datasets.md says where each comes from.

    Args:
        name: Name of the data set.
        root: Folder with the official list and the media.
        out: Bank root; created if it is missing.
        split: Name of the split. By default that of the data set, with -SUBSET after it if another
            subset than the paper's is asked for.
        choice: What is taken of it.
    """
    dataset = named(name)
    target = split_in(out, split or split_name(name, choice.subset, dataset.default))
    files.require_writable(out)
    content = read_content(name, root, choice)
    write_content(target, content)
    print("\n".join([f"{target.path}: {dataset.title}", *_described(target, content)]))


def _described(split: Split, content: Content) -> list[str]:
    """Return the counts, what is missing, and how classes are named, a line each."""
    about = content.about
    lines = [*_counts(about["counts"])]
    if content.missing:
        paths = ", ".join(item["path"] for item in content.missing[:SHOWN])
        more = ", ..." if len(content.missing) > SHOWN else ""
        lines.append(f"  missing: {len(content.missing)} files: {paths}{more}")
        lines.append(f"  all of them: {split.path / MISSING}")
    if about["class_names"] is not None:
        first, count = about["templates"][0], len(about["templates"])
        others = f" and {count - 1} others" if count > 1 else ""
        lines.append(f"  templates: {first!r}{others}")
        lines.append(f"  names of classes: {about['class_names']}")
    if about["frame_at"] is not None:
        lines.append(f"  pictures of videos: the frame at {about['frame_at']} s")
    return lines


def _counts(counts: dict[str, Any]) -> list[str]:
    """Return a table of counts: a line for each modality."""
    rows = dict.fromkeys(name for part in counts.values() for name in part)
    head = "".join(f"{title:>14}" for title in COLUMNS.values())
    cells = {m: "".join(f"{counts[c].get(m, ''):>14}" for c in COLUMNS) for m in rows}
    return [f"  {'':<8}{head}", *(f"  {m:<8}{line}".rstrip() for m, line in cells.items())]
