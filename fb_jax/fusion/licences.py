"""What a licence allows, judged by its text: a conservative reading, not legal advice.

Embeddings fall under the licence of the encoder that computed them, and so does all that derives
from them. The licence of a fused space is therefore that of its strictest native space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from fb_jax.errors import FreeBindError, notice_once

LicenceKind = Literal["permissive", "other", "unknown", "non-commercial"]
"""Mildest first. ``other`` allows commercial use on conditions that somebody has to read."""

KINDS: tuple[LicenceKind, ...] = get_args(LicenceKind)

UNKNOWN = "unknown"

PERMISSIVE = frozenset(
    (
        *("0bsd", "afl-3-0", "apache", "apache-2", "apache-2-0", "bsd", "bsd-2-clause"),
        *("bsd-3-clause", "bsl-1-0", "cc-by", "cc-by-2-0", "cc-by-2-5", "cc-by-3-0", "cc-by-4-0"),
        *("cc0", "cc0-1-0", "isc", "mit", "mit-0", "ncsa", "pddl", "public-domain", "unlicense"),
        *("wtfpl", "zlib"),
    )
)
"""Identifiers of SPDX and of the Hugging Face hub, as ``_words`` writes them."""

NAMELESS = frozenset(
    ("", "unknown", "other", "none", "noassertion", "n-a", "tbd", "see-its-model-card")
)
RESTRICTED = re.compile(
    r"(^|-)nc(-|$)|non-?commercial|(^|-)(no|not-for)-commercial|commercial-use-(is-)?(not|pro|forb)|"
    r"research|academic|education|evaluation|personal|proprietary|all-rights-reserved"
)
NOISE = re.compile(r"^(the|licen[cs]e|derived-from)-|-(licen[cs]e|version)(?=-|$)")
SEVERAL = re.compile(r",(?!\s*version)|;|(?<=\w\w)/|\band\b|\bor\b", re.IGNORECASE)


def licence_kind(text: str) -> LicenceKind:
    """Return what a licence allows; of several in one text the strictest counts.

    Args:
        text: An SPDX identifier such as ``CC-BY-NC-SA-4.0``, or words: ``MIT (LICENSE)``,
            ``derived from MIT (clip), CC0-1.0 (clap)``. Remarks in brackets may only restrict.
    """
    if RESTRICTED.search(_words(text)):
        return "non-commercial"
    if "unconfirmed" in text.lower():
        return "unknown"
    parts = re.split(SEVERAL, re.sub(r"\([^()]*\)", "", text))
    return max(map(_kind, parts), key=KINDS.index)


def _kind(text: str) -> LicenceKind:
    words = NOISE.sub("", _words(text))
    if words in NAMELESS:
        return "unknown"
    return "permissive" if words in PERMISSIVE else "other"


def _words(text: str) -> str:
    """Return a text in lower case, with one hyphen between its words and numbers."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def warn_of_licences(spaces: Iterable[str], licences: Mapping[str, str]) -> None:
    """Say in one line which native spaces forbid commercial use, or have an unknown licence.

    Args:
        spaces: Names of all native spaces.
        licences: Native space to its licence, where there is one.
    """
    kinds = _kinds(spaces, licences)
    forbids = [f"{s} ({licences[s]})" for s, kind in kinds.items() if kind == "non-commercial"]
    unknown = [name for name, kind in kinds.items() if kind == "unknown"]
    parts = [f"no commercial use: {', '.join(forbids)}"] * bool(forbids)
    parts += [f"unknown: {', '.join(unknown)} (--licence SPACE LICENCE)"] * bool(unknown)
    if parts:
        notice_once(f"licences, which what is fused inherits: {'; '.join(parts)}")


def require_permissive(spaces: Iterable[str], licences: Mapping[str, str]) -> None:
    """Raise a FreeBindError unless every native space has a permissive licence.

    Args:
        spaces: Names of all native spaces.
        licences: Native space to its licence, where there is one.
    """
    bad = {s: kind for s, kind in _kinds(spaces, licences).items() if kind != "permissive"}
    if bad:
        raise FreeBindError(
            "what is fused inherits a licence that is not permissive",
            where=", ".join(bad),
            expected="permissive ones, such as MIT, Apache-2.0, BSD-3-Clause, CC-BY-4.0, CC0-1.0",
            got="; ".join(f"{s}: {licences.get(s, UNKNOWN)} ({bad[s]})" for s in bad),
            fix="fuse other spaces, such as a CLIP and a CLAP; record a licence that is unknown "
            "here with --licence SPACE LICENCE; or leave --require-licence out",
        )


def _kinds(spaces: Iterable[str], licences: Mapping[str, str]) -> dict[str, LicenceKind]:
    return {name: licence_kind(licences.get(name, UNKNOWN)) for name in spaces}
