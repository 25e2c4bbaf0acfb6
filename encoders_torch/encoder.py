"""What an encoder is to the export, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from fb_jax.banks import Encoder
from fb_jax.errors import FreeBindError, unknown

ENTRY_POINTS = "freebind.encoders"
"""Group of entry points under which installed packages offer encoders by the name of a space."""


BACKENDS = {
    "clap_general": {"laion_clap": "encoders_torch.clap.laion:LaionClapGeneral"},
    "clap_music": {"laion_clap": "encoders_torch.clap.laion:LaionClapMusic"},
    "imagebind": {"upstream": "encoders_torch.imagebind.upstream:UpstreamImageBind"},
}
"""What else can run the encoder of a space: the package of those who published the weights."""

FAMILIES = {
    "hf": "encoders_torch.huggingface:HuggingFace",
    "open_clip": "encoders_torch.open_clip:OpenClip",
}
"""Families of encoders, named ``FAMILY:MEMBER``; their classes take the member first."""


@runtime_checkable
class FrozenEncoder(Protocol):
    """A frozen encoder of one space: what a user writes to plug in an own one.

    Its class is called with ``weights`` (a path or None) and ``device`` (torch's name of one).
    Results must depend on the item alone: no gradients, no dropout, no crop that is not fixed by
    the item. It may have a method ``prepare(modality)`` besides, called before the first item of
    the first modality is read, once for each that is asked for: to load what only that one needs.

    Attributes:
        name: Of the model, for manifests.
        dim: Of the embeddings.
        modalities: That it encodes.
        weights_sha256: Digest of the weights.
        licence: Of the weights, which embeddings inherit.
    """

    name: str
    dim: int
    modalities: tuple[str, ...]
    weights_sha256: str
    licence: str

    def read(self, modality: str, item: str | Path) -> Any:
        """Read and prepare one item; runs in worker processes, so on the CPU.

        Args:
            modality: One of ``modalities``.
            item: A caption, or the path of a media file.

        Raises:
            Exception: Any, if the item cannot be used; the export lists it as missing.
        """

    def encode(self, modality: str, batch: Sequence[Any]) -> Float32[np.ndarray, "b d"]:
        """Encode what ``read`` gave for some items; rows of any norm."""


def load_encoder(
    name: str, weights: Path | None, device: str, backend: str | None = None
) -> FrozenEncoder:
    """Make an encoder.

    Args:
        name: Of one that comes with this package; ``FAMILY:MEMBER`` of a family, as
            ``hf:openai/clip-vit-base-patch32``; of an entry point in the group
            ``freebind.encoders``; or ``module:Class``.
        weights: What to load it from; None if it needs none, or finds its own.
        device: Of torch.
        backend: One of ``BACKENDS`` of this name; None is our own code.

    Raises:
        FreeBindError: There is no such encoder or backend, it cannot be loaded, or it does not keep
            to ``FrozenEncoder``.
    """
    made: object = find_encoder(name, backend)(weights=weights, device=device)
    if not isinstance(made, FrozenEncoder):
        wanted = [*FrozenEncoder.__annotations__, "read", "encode"]
        raise FreeBindError(
            "this is no encoder",
            where=name,
            expected=f"a class with {', '.join(wanted)}",
            got=f"without {', '.join(part for part in wanted if not hasattr(made, part))}",
            fix="see FrozenEncoder in encoders_torch/encoder.py",
        )
    return made


def known_encoders() -> list[str]:
    """Return the names of spaces that have an encoder: of this package or another installed one."""
    return sorted(_installed())


def find_encoder(name: str, backend: str | None = None) -> Callable[..., Any]:
    """Return what makes an encoder, called with ``weights`` and ``device``; see ``load_encoder``.

    Raises:
        FreeBindError: There is no such encoder or backend, or it cannot be imported.
    """
    if backend is not None:
        return _import(_backend(name, backend))
    first, colon, rest = name.partition(":")
    if colon and first in FAMILIES:
        return partial(_import(FAMILIES[first]), rest)
    if colon:
        return _import(name)
    if name in (installed := _installed()):
        return installed[name].load()
    raise unknown(
        "encoder", name, [*known_encoders(), *(f"{f}:..." for f in FAMILIES), "MODULE:CLASS"]
    )


def _backend(name: str, backend: str) -> str:
    known = BACKENDS.get(name, {})
    if backend not in known:
        raise unknown("backend", backend, known, name)
    return known[backend]


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise FreeBindError(
            "an encoder cannot be imported",
            where=name,
            got=error,
            fix="give --encoder MODULE:CLASS",
        ) from error


def provenance(encoder: FrozenEncoder) -> Encoder:
    """Return what a bank's manifest says of an encoder."""
    return Encoder(encoder.name, encoder.weights_sha256, encoder.licence)
