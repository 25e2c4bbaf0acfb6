"""AudioCaps 1.0: ten seconds of a YouTube video, one caption (train) or five (val, test).

The list has a row for each caption, and the captions of a clip are not adjacent. AudioCaps 2.0 has
the same clips in ``val`` and ``test``, with other captions: nearly all begin with a small letter.
"""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import list_in, read_rows
from fb_jax.datasets.youtube import clip_names, require_id
from fb_jax.errors import FreeBindError

SECONDS = 10


def read(root: Path, subset: str) -> Listing:
    """Read ``dataset/SUBSET.csv``.

    Raises:
        FreeBindError: It is missing or damaged, or of AudioCaps 2.0.
    """
    path = list_in(root, f"dataset/{subset}.csv", f"{subset}.csv")
    starts: dict[str, float] = {}
    captions: dict[str, list[str]] = {}
    for row in read_rows(path, "audiocap_id", "youtube_id", "start_time", "caption"):
        video = require_id(row["youtube_id"], path)
        with files.explained("the start of a clip is no whole number", path):
            start = float(int(row["start_time"]))
        if starts.setdefault(video, start) != start:
            raise FreeBindError("a video has clips with two starts", where=path, got=video)
        captions.setdefault(video, []).append(row["caption"])
    _require_first_version(path, [text for texts in captions.values() for text in texts])
    return Listing(path, [_entry(video, starts[video], captions[video]) for video in captions])


def _entry(video: str, start: float, captions: list[str]) -> Entry:
    return Entry(video, {"audio": clip_names(video, start, start + SECONDS)}, captions)


def _require_first_version(path: Path, captions: list[str]) -> None:
    """Raise a FreeBindError if most captions begin with a small letter, as those of 2.0 do.

    Counted in both lists of test: 4871 of 4875 begin with a capital letter in 1.0, 200 in 2.0.
    """
    capital = sum(text[:1].isupper() for text in captions)
    if 2 * capital < len(captions):
        raise FreeBindError(
            "this list is of AudioCaps 2.0, whose captions differ",
            where=path,
            expected="dataset/ of the repository cdjkim/audiocaps, whose captions begin with a "
            "capital letter",
            got=f"{len(captions) - capital} of {len(captions)} captions that do not",
            fix="take the list of AudioCaps 1.0, which the paper used",
        )


AUDIOCAPS = DataSet(
    title="AudioCaps 1.0",
    read=read,
    subsets={"test": 975, "val": 495, "train": 49838},
    folders={"audio": ("audio", "audio/{subset}", "{subset}", "")},
    paper={"audio": 964},
    source="https://github.com/cdjkim/audiocaps",
    licence="list: academic use (README), MIT (LICENSE); media: YouTube's",
    note="nobody has published which 964 clips of test the paper had",
)
