"""Names of splits, spaces and modalities, which become folders and parts of file names."""

from __future__ import annotations

import re
from unicodedata import normalize

from fb_jax.errors import FreeBindError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of pair tables and of products are cut at hyphens; those of splits never are."""


def require_name(kind: str, name: str) -> None:
    """Raise a FreeBindError unless ``name`` can name a folder and a part of a file name."""
    of_split = kind == "split"
    if not (SPLIT_NAME if of_split else NAME).fullmatch(name):
        raise FreeBindError(
            f"{name!r} cannot name a {kind}",
            expected=f"a letter or digit, then letters, digits and _ . +{' -' * of_split}",
            fix=None if name else "was it a shell variable that is not set?",
        )


def nfc(text: str) -> str:
    """Return a text in Unicode's form NFC: one spelling for what macOS and Linux spell apart.

    macOS stores ``é`` in a file's name as two characters, Linux usually as one.
    """
    return normalize("NFC", text)
