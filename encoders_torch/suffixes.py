"""Which files of a folder are media: by what the libraries that read them say."""

from __future__ import annotations

from functools import cache

import soundfile
from PIL import Image, ImageFile

RAW = "RAW"
"""Samples without a header: libsndfile cannot tell what they are."""

SPELLINGS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".wave": "WAV"}
"""Common suffixes beside the formats' own names, which are all that soundfile tells."""


@cache
def suffixes(modality: str) -> frozenset[str]:
    """Return lower-case suffixes, with the dot; none for a modality that no library knows."""
    return {"audio": _audio, "image": _image}.get(modality, frozenset)()


def _audio() -> frozenset[str]:
    known = soundfile.available_formats().keys() - {RAW}
    own = {f".{name.lower()}" for name in known}
    return frozenset(own | {suffix for suffix, name in SPELLINGS.items() if name in known})


def _image() -> frozenset[str]:
    """Leave out what Pillow writes only, and what it knows by name but has no decoder of."""
    found = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in found if name in Image.OPEN and _decodes(name))


def _decodes(name: str) -> bool:
    factory = Image.OPEN[name][0]
    stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not stub and name != "MPEG"  # Pillow reads the size of a video, no picture
