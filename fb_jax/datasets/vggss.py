"""VGG-SS: clips of VGGSound in whose picture the source of the sound was marked.

The boxes were drawn on the 125th frame of a clip at 25 frames a second: the picture is the frame at
5.0 s, from ``frames/`` or else from the video itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import PAGE, list_in
from fb_jax.errors import FreeBindError

CLIP = re.compile(r"([A-Za-z0-9_-]{11})_(\d{6})")
SECONDS = 10
VIDEOS = ("video", "videos")


@dataclass(frozen=True)
class Marked:
    """A clip of ``vggss.json``, without its boxes."""

    file: str


def read(root: Path, subset: str) -> Listing:
    """Read ``vggss.json`` or ``vggss_test.csv``, which hold the same clips in the same order."""
    names = [
        f"{folder}vggss{end}" for folder in ("metadata/", "") for end in (".json", "_test.csv")
    ]
    path = list_in(root, *names)
    if path.suffix == ".json":
        clips = [marked.file for marked in files.read_json(path, list[Marked])]
    else:  # has no first line with names
        clips = [line.strip() for line in files.read_lines(path) if line.strip()]
    return Listing(path, [_entry(clip, path) for clip in clips])


def _entry(clip: str, path: Path) -> Entry:
    found = CLIP.fullmatch(clip)
    if not found:
        raise FreeBindError(
            "this is no id of a clip",
            where=path,
            expected="11 characters of YouTube's id, _ and six digits, such as zpWuikVorYg_000032; "
            "vggss_test.csv has no first line with names",
            got=repr(clip),
            fix=f"take the list as published; {PAGE}",
        )
    video, start = found[1], int(found[2])
    names = (clip, f"{video}_{start * 1000}_{(start + SECONDS) * 1000}")
    return Entry(clip, {"audio": names, "image": names})


VGGSS = DataSet(
    title="VGG-SS",
    read=read,
    subsets={"test": 5158},
    folders={"audio": ("audio", *VIDEOS), "image": ("frames", *VIDEOS)},
    paper={"audio": 5158, "image": 5158},
    source="https://github.com/hche11/Localizing-Visual-Sounds-the-Hard-Way",
    licence="VGGSound: CC BY 4.0 (unconfirmed); media: YouTube's",
    frame_at=5.0,
)
