"""Suffixes of media files, from the libraries that read them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

import soundfile
from PIL import Image, ImageFile

from encoders_torch.media import containers, heif

RAW = "RAW"
"""Samples without a header: libsndfile cannot know their format."""

SPELLINGS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".wave": "WAV"}
"""Common suffixes that differ from the formats' names; soundfile knows only those."""

PACKAGES = {"heif": "pillow_heif", "video": "av"}
"""What an extra installs."""

EXTRAS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "audio": {"video": frozenset(containers.VIDEOS.keys() | containers.SOUNDS.keys())},
    "image": {"heif": heif.SUFFIXES, "video": frozenset(containers.VIDEOS)},
}
"""Suffixes that are read only with an extra, by modality and extra."""


def suffixes(modality: str) -> frozenset[str]:
    """Return lower-case suffixes with the dot; none for modalities other than audio and image.

    Those of an extra are among them if it is installed.
    """
    core = {"audio": _audio, "image": _image}.get(modality, frozenset)()
    extras = EXTRAS.get(modality, {}).items()
    return core.union(*(more for extra, more in extras if find_spec(PACKAGES[extra])))


def extra_for(suffix: str, modality: str) -> str | None:
    """Return the extra whose library reads files of a suffix, if nothing that is installed does."""
    suffix = suffix.lower()
    if suffix in suffixes(modality):
        return None
    extras = EXTRAS.get(modality, {}).items()
    return next((extra for extra, more in extras if suffix in more), None)


@cache
def _audio() -> frozenset[str]:
    known = soundfile.available_formats().keys() - {RAW}
    names = {f".{name.lower()}" for name in known}
    return frozenset(names | {suffix for suffix, name in SPELLINGS.items() if name in known})


@cache
def _image() -> frozenset[str]:
    """Leave out formats that Pillow only writes, or knows by name but cannot decode."""
    registered = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in registered if name in Image.OPEN and _decodes(name))


def _decodes(name: str) -> bool:
    factory = Image.OPEN[name][0]
    stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not stub and name != "MPEG"  # of a video, Pillow reads only the size
