"""What people should know of a split of a data set: counts, what is missing, prompts."""

from __future__ import annotations

from typing import Any

from fb_jax.banks import Split
from fb_jax.datasets.content import Content
from fb_jax.datasets.registry import named
from fb_jax.datasets.split import MISSING

SHOWN = 5
COLUMNS = {"listed": "in the list", "here": "on the disk", "paper": "in the paper"}


def describe(split: Split, content: Content) -> list[str]:
    """Return the counts of a split, what is missing, and how its classes are named, in lines."""
    about = content.about
    lines = [f"{split.path}: {about['version']}, {about['subset']}", *_counts(about["counts"])]
    if note := named(about["dataset"]).note:
        lines.append(f"  {note}")
    if content.missing:
        paths = ", ".join(item["path"] for item in content.missing[:SHOWN])
        more = ", ..." if (count := len(content.missing)) > SHOWN else ""
        lines.append(f"  missing: {count} file{'s' * (count > 1)}: {paths}{more}")
        lines.append(f"  all of them: {split.path / MISSING}")
    if about["class_names"] is not None:
        first, count = about["templates"][0], len(about["templates"])
        others = f" and {count - 1} other{'s' * (count > 2)}" if count > 1 else ""
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
