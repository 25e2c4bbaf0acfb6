"""The nine data sets of the paper's Table 1, by the names of their splits."""

from __future__ import annotations

from collections.abc import Mapping

from fb_jax.datasets.audiocaps import AUDIOCAPS
from fb_jax.datasets.audioset import AUDIOSET
from fb_jax.datasets.clotho import CLOTHO
from fb_jax.datasets.coco import COCO
from fb_jax.datasets.dataset import DataSet
from fb_jax.datasets.esc50 import ESC50
from fb_jax.datasets.flickr30k import FLICKR30K
from fb_jax.datasets.flickrnet import FLICKRNET
from fb_jax.datasets.imagenet import IMAGENET
from fb_jax.datasets.vggss import VGGSS
from fb_jax.errors import unknown

DATASETS: Mapping[str, DataSet] = {
    "audiocaps": AUDIOCAPS,
    "clotho": CLOTHO,
    "vggss": VGGSS,
    "flickrnet": FLICKRNET,
    "coco": COCO,
    "flickr30k": FLICKR30K,
    "esc50": ESC50,
    "audioset": AUDIOSET,
    "imagenet": IMAGENET,
}


def named(name: str) -> DataSet:
    """Return a data set by its name.

    Raises:
        FreeBindError: There is none; the nearest is named.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]


def split_name(name: str, subset: str | None) -> str:
    """Return the usual name of a split: the data set's, and the subset unless it is the paper's."""
    return name if subset in (None, named(name).default) else f"{name}-{subset}"
