"""Suffixes of media files, from the libraries that read them."""

from __future__ import annotations

from functools import cache

import soundfile
from PIL import Image, ImageFile

RAW = "RAW"
"""Samples without a header: libsndfile cannot know their format."""

SPELLINGS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".wave": "WAV"}
"""Common suffixes that differ from the formats' names; soundfile knows only those."""


@cache
def suffixes(modality: str) -> frozenset[str]:
    """Return lower-case suffixes with the dot; none for modalities other than audio and image."""
    return {"audio": _audio, "image": _image}.get(modality, frozenset)()


def _audio() -> frozenset[str]:
    known = soundfile.available_formats().keys() - {RAW}
    names = {f".{name.lower()}" for name in known}
    return frozenset(names | {suffix for suffix, name in SPELLINGS.items() if name in known})


def _image() -> frozenset[str]:
    """Leave out formats that Pillow only writes, or knows by name but cannot decode."""
    registered = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in registered if name in Image.OPEN and _decodes(name))


def _decodes(name: str) -> bool:
    factory = Image.OPEN[name][0]
    stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not stub and name != "MPEG"  # of a video, Pillow reads only the size
