"""The hub correction of a space on disk: its settings as JSON, its references in one file.

The file is named by its content, ``hubs-DIGEST.safetensors``, so that a killed process never leaves
settings of one correction beside the references of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.numpy
from msgspec import Meta

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count, Sha256
from fb_jax.fusion.hubs import Hub, HubCorrection

PATTERN = "hubs-*.safetensors"


@dataclass(frozen=True)
class _Hub:
    """See ``Hub``."""

    k: Count
    alpha: float


@dataclass(frozen=True)
class HubsAbout:
    """What JSON says of a hub correction: pairs ``audio-text``, and the file of references."""

    pairs: Annotated[dict[str, _Hub], Meta(min_length=1)]
    bytes: Count
    sha256: Sha256

    @property
    def file(self) -> str:
        """Name of the file of references."""
        return PATTERN.replace("*", self.sha256[:12])


def packed(hubs: HubCorrection | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what JSON says of a correction, and the file to write beside it; nothing of None."""
    if hubs is None:
        return {}, {}
    content = safetensors.numpy.save(dict(hubs.references))
    pairs = {"-".join(pair): _Hub(**asdict(hub)) for pair, hub in hubs.pairs.items()}
    about = HubsAbout(pairs, len(content), files.sha256_of_bytes(content))
    return {"hubs": asdict(about)}, {about.file: content}


def read_hubs(folder: Path, about: HubsAbout | None) -> HubCorrection | None:
    """Return the correction that ``packed`` described; None of None.

    Raises:
        FreeBindError: The file is missing or was altered, or does not fit the pairs.
    """
    if about is None:
        return None
    path = folder / about.file
    content = files.read_bytes(path, about.bytes, "the references of a hub correction")
    fix = "get the folder again from where it came, or run freebind train again"
    if (found := files.sha256_of_bytes(content)) != about.sha256:
        raise FreeBindError(
            "the references were altered", where=path, expected=about.sha256, got=found, fix=fix
        )
    with files.explained("the references cannot be read", path, fix):
        references: dict[str, np.ndarray] = safetensors.numpy.load(content)
    pairs = {_pair(name): Hub(hub.k, hub.alpha) for name, hub in about.pairs.items()}
    return HubCorrection(pairs, references)


def _pair(name: str) -> tuple[str, str]:
    left, _, right = name.partition("-")
    return left, right


def remove_others(folder: Path, kept: Mapping[str, bytes]) -> None:
    """Remove the references of earlier corrections of a folder."""
    for path in folder.glob(PATTERN):
        if path.name not in kept:
            path.unlink()
