"""FlickrNet, also Flickr-SoundNet: 5000 pairs of a picture and a sound with annotations.

The ids are the names of the annotations, one XML file a pair. Papers on localization use "250" of
them; the list that is published, ``flickr_test.csv``, has 249. Nobody could look into the archive
itself here: the names of its folders are those that public loaders expect.
"""

from __future__ import annotations

from pathlib import Path

from fb_jax import files
from fb_jax.datasets.dataset import DataSet, Entry, Listing
from fb_jax.datasets.lists import PAGE, list_in
from fb_jax.errors import FreeBindError


def read(root: Path, subset: str) -> Listing:
    """Read the names in ``Annotations/``, or ``flickr_test.csv``, whose first line is an id."""
    if subset == "test":
        path = list_in(root, "metadata/flickr_test.csv", "flickr_test.csv")
        ids = [cells[0] for _, cells in files.read_cells(path)]
    else:
        path = list_in(root, "Annotations", "annotations", "Test/Annotations")
        ids = sorted((xml.stem for xml in path.glob("*.xml")), key=lambda name: (len(name), name))
    return Listing(path, [_entry(name, path) for name in ids])


def _entry(name: str, path: Path) -> Entry:
    if not name.isdecimal():
        raise FreeBindError(
            "this is no id of Flickr", where=path, expected="digits", got=repr(name), fix=PAGE
        )
    return Entry(name, {"audio": (name,), "image": (name, f"{name}.mp4/frame1")})


FLICKRNET = DataSet(
    title="Flickr-SoundNet, annotated pairs",
    read=read,
    subsets={"annotated": 5000, "test": 249},
    folders={"audio": ("audio", "Test/audio"), "image": ("frames", "Test/frames", "")},
    paper={"audio": 5000, "image": 5000},
    source="https://github.com/ardasnck/learning_to_localize_sound_source",
    licence="research only (README)",
)
