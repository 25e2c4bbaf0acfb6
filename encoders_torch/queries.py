"""Queries that are typed: one item, embedded by the encoders of several spaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from encoders_torch.encoder import FrozenEncoder
from encoders_torch.explain import in_one_line
from encoders_torch.exporting.encoding import Encoding
from encoders_torch.exporting.reading import Read, read_item
from encoders_torch.loading import (
    load_encoder,
    recorded_encoder,
    recorded_options,
    without_place,
)
from encoders_torch.media import Media, MediaOptions
from fb_jax.arguments import of_spaces
from fb_jax.banks import Encoder
from fb_jax.errors import FreeBindError, notice_once

UNKNOWN = "unknown"
ALIKE = 0.99
"""Least cosine of two embeddings of one caption by one encoder; precisions differ."""


Sample = tuple[str, Float32[np.ndarray, " d"]]
"""A caption and its unit row in the banks of a space."""


@dataclass(frozen=True)
class QueryEncoder:
    """The encoder that embeds the queries of a native space.

    Attributes:
        space: Name of the space.
        recorded: The encoder that the manifests of its banks name.
        name: Name of the encoder to load; None takes the recorded one.
        weights: Its file or folder of weights, if it needs one.
        sample: Shows whether the encoder is the same where the manifests have no digest.
        trust_remote_code: Whether code in a model's folder may run.
    """

    space: str
    recorded: Encoder
    name: str | None = None
    weights: str | None = None
    sample: Sample | None = None
    trust_remote_code: bool = False

    def load(self, device: str) -> FrozenEncoder:
        """Load the encoder.

        Raises:
            FreeBindError: It is not known, or cannot be loaded.
        """
        name = self.name or recorded_encoder(self.recorded.name)
        if name is None:
            raise self._unavailable("no encoder that can be loaded by this name")
        options = recorded_options(self.recorded.name)
        try:
            return load_named(
                self.space, name, self.weights, device, self.trust_remote_code, **options
            )
        except FreeBindError as error:
            raise self._unavailable(in_one_line(error)) from error

    def _unavailable(self, got: str) -> FreeBindError:
        space = self.space
        return FreeBindError(
            f"queries cannot be embedded in the space {space}",
            expected=f"the encoder of its banks, {self.recorded.name}",
            got=got,
            fix=f"give that encoder, such as --encoder {space}=st:all-MiniLM-L6-v2, and "
            f"--weights {space}=PATH if it needs them",
        )

    def require_same(self, encoder: FrozenEncoder) -> None:
        """Raise a FreeBindError if another encoder computed the banks; say so if nobody knows."""
        digest, name = self.recorded.weights_sha256, self.recorded.name
        same_name = without_place(name).startswith(without_place(encoder.name))
        if digest == encoder.weights_sha256 and not same_name:
            notice_once(
                f"{self.space}: its banks were computed by {name}; the query is embedded by "
                f"{encoder.name}, with the same weights"
            )
        if digest == UNKNOWN:
            self._require_same_row(encoder)
        elif digest != encoder.weights_sha256:
            raise self._other(
                encoder,
                f"{self.recorded.name}, weights with SHA-256 {digest}",
                f"weights with SHA-256 {encoder.weights_sha256}",
            )

    def _require_same_row(self, encoder: FrozenEncoder) -> None:
        if self.sample is None or "text" not in encoder.modalities:
            notice_once(
                f"{self.space}: its banks do not say which weights computed them, so nothing shows "
                f"that {encoder.name} is the same encoder"
            )
            return
        caption, wanted = self.sample
        row = embed(encoder, "text", caption)[0]
        cosine = float(row @ wanted) if row.shape == wanted.shape else None
        if cosine is None or cosine < ALIKE:
            got = f"{len(row)} dimensions" if cosine is None else f"a cosine of {cosine:.3f}"
            raise self._other(
                encoder,
                f"the row of {caption!r} in the banks, {len(wanted)} dimensions, "
                f"at a cosine of {ALIKE} or more",
                got,
            )

    def _other(self, encoder: FrozenEncoder, expected: str, got: str) -> FreeBindError:
        space = self.space
        return FreeBindError(
            f"this encoder did not compute the banks of {space}",
            where=encoder.name,
            expected=expected,
            got=got,
            fix=f"give the encoder and the weights that did: --encoder {space}=ENCODER, "
            f"--weights {space}=PATH",
        )


def load_named(
    space: str,
    name: str,
    weights: str | None,
    device: str,
    trust_remote_code: bool = False,
    **options: Any,
) -> FrozenEncoder:
    """Load the encoder of a native space, and say so; see ``load_encoder``."""
    notice_once(f"{space}: loading the encoder {name}")
    if trust_remote_code:
        options["trust_remote_code"] = True
    return load_encoder(name, weights, device, **options)


def load_encoders(
    recorded: Mapping[str, str],
    names: Sequence[str],
    weights: Sequence[str],
    known: Sequence[str],
    device: str,
    trust_remote_code: bool = False,
) -> dict[str, FrozenEncoder]:
    """Load the encoders of native spaces that are named, or whose weights are, or are recorded.

    Args:
        recorded: Native space to the name of its encoder, from a file: it may not name code to run.
        names: ``SPACE=ENCODER`` as the user gave them; see ``of_spaces``.
        weights: ``SPACE=PATH``, the same.
        known: The native spaces. With weights alone, the encoder has the name of its space.
        device: Of torch.
        trust_remote_code: Whether code in a model's folder may run.

    Raises:
        FreeBindError: A name or path is that of another space, or an encoder cannot be loaded.
    """
    paths = of_spaces("--weights", weights, known)
    safe = {space: recorded_encoder(name) for space, name in recorded.items()}
    chosen = {space: name for space, name in safe.items() if name is not None}
    chosen = {**{space: space for space in paths}, **chosen, **of_spaces("--encoder", names, known)}
    return {
        space: load_named(space, name, paths.get(space), device, trust_remote_code)
        for space, name in chosen.items()
    }


def query_encoders(
    recorded: Mapping[str, Encoder],
    samples: Mapping[str, Sample | None],
    names: Sequence[str],
    weights: Sequence[str],
    known: Sequence[str],
    trust_remote_code: bool = False,
) -> list[QueryEncoder]:
    """Return the encoder of each space.

    Args:
        recorded: Space to the encoder that the manifests of its banks name.
        samples: Space to a sample, or to None.
        names: ``SPACE=ENCODER`` as the user gave them; see ``of_spaces``.
        weights: ``SPACE=PATH``, the same.
        known: The spaces that names and paths may be for.
        trust_remote_code: Whether code in a model's folder may run.

    Raises:
        FreeBindError: A name or path is that of another space.
    """
    named = of_spaces("--encoder", names, known)
    paths = of_spaces("--weights", weights, known)
    return [
        QueryEncoder(s, recorded[s], named.get(s), paths.get(s), samples[s], trust_remote_code)
        for s in recorded
    ]


def embed_query(
    encoders: Iterable[QueryEncoder], modality: str, item: str | Path, device: str
) -> tuple[dict[str, Float32[np.ndarray, "1 d"]], dict[str, FreeBindError]]:
    """Embed one item in several native spaces.

    Args:
        encoders: One for each space.
        modality: Name of the item's modality.
        item: A caption, or the path of a media file.
        device: Of torch.

    Returns:
        Space to a unit row; and space to what is wrong with its encoder.

    Raises:
        FreeBindError: An encoder cannot embed the item, or did not compute the banks of its space.
    """
    rows, unavailable = {}, {}
    for query_encoder in encoders:
        try:
            encoder = query_encoder.load(device)
            _require_modality(encoder, modality)
        except FreeBindError as error:
            unavailable[query_encoder.space] = error
        else:
            query_encoder.require_same(encoder)
            how = MediaOptions.described(query_encoder.recorded.name)
            rows[query_encoder.space] = embed(encoder, modality, item, how)
    return rows, unavailable


def embed(
    encoder: FrozenEncoder, modality: str, item: str | Path, how: MediaOptions | None = None
) -> Float32[np.ndarray, "1 d"]:
    """Return the unit row of one item, as an export computes it.

    Args:
        encoder: The encoder.
        modality: Name of the item's modality.
        item: A caption, or the path of a media file.
        how: How media are read.

    Raises:
        FreeBindError: The item cannot be read, or its embedding has no direction.
    """
    if not str(item).strip():
        raise FreeBindError(f"the {modality} to embed is empty")
    content = Media(item, options=how or MediaOptions()) if isinstance(item, Path) else item
    read = _read(encoder, modality, content)
    if read.reason is not None:
        raise _not_embedded(encoder, modality, item, read.reason)
    rows, failed = Encoding(encoder, modality).encode(encoder.collate(modality, [read.value]), 1)
    if failed:
        raise _not_embedded(encoder, modality, item, failed[0])
    return rows


def _read(encoder: FrozenEncoder, modality: str, content: str | Media) -> Read:
    try:
        encoder.prepare(modality)
        return read_item(encoder, modality, content)
    except Exception as error:
        return Read(reason=in_one_line(error))


def _not_embedded(
    encoder: FrozenEncoder, modality: str, item: str | Path, got: str
) -> FreeBindError:
    what = f"this {modality} cannot be embedded"
    return FreeBindError(what, where=item, expected=encoder.name, got=got)


def _require_modality(encoder: FrozenEncoder, modality: str) -> None:
    if modality not in encoder.modalities:
        raise FreeBindError(
            f"this encoder has no {modality}",
            where=encoder.name,
            expected=", ".join(encoder.modalities),
        )
