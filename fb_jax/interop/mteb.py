"""Fused spaces and their native spaces as models of mteb, a benchmark that others wrote.

``mteb.evaluate(fused_model(embedder), mteb.get_task("Flickr30kI2TRetrieval"))`` judges a fused
space, ``native_model(embedder, "imagebind")`` one of its sources, so that both can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from fb_jax import files
from fb_jax.banks import unit_rows
from fb_jax.banks.rows import Progress, no_progress
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.extras import import_extra
from fb_jax.fusion import Embedder, Role, digest
from fb_jax.interop.mteb_items import as_items, undecoded

EXTRA = "mteb"
MODALITIES = ("text", "image", "audio")
"""Modalities that mteb and these models have in common; its videos are not read."""

Batch = Mapping[str, Sequence[Any]]
"""Columns of some items of a task: modality to items, ``id``, and others."""

RowsOf = Callable[[Batch, Any, Role | None], Float[np.ndarray, "b d"]]
"""See ``MtebModel``."""

Embed = Callable[[str, Sequence[Any], Role | None], Float[np.ndarray, "b d"]]
"""Returns the rows of items of one modality in a role."""

ROLES: Mapping[str | None, Role] = {"query": "query", "document": "item"}
"""mteb's prompt type to role."""


@dataclass
class MtebModel:
    """A model as mteb takes it (its ``EncoderProtocol``).

    Attributes:
        name: Name of the model, without an organisation.
        dim: Dimension of the rows.
        modalities: What it encodes.
        revision: Digest of everything that rows depend on: mteb keeps results under it.
        licences: Licences of the encoders.
        cosine: Whether similarity is the cosine, or else the inner product.
        factors: Weights of the experts, if the space is fused.
        rows_of: Returns ``[b, d]`` rows of some items, given mteb's description of the task and
            their role: None if mteb does not say whether they ask or are found.
        progress: Called with the number of items just encoded.
    """

    name: str
    dim: int
    modalities: Sequence[str]
    revision: str
    licences: Sequence[str]
    cosine: bool
    factors: Mapping[str, float]
    rows_of: RowsOf = field(repr=False)
    progress: Progress = field(default=no_progress, repr=False)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """What mteb writes about the model; fields stay empty where nothing is known."""
        library = _library("mteb.models.model_meta")
        known = {
            "name": "freebind/" + re.sub(r"[^\w.+-]+", "-", self.name),
            "revision": self.revision,
            "modalities": list(self.modalities),
            "embed_dim": self.dim,
            "license": _licence(self.licences),
            "similarity_fn_name": library.ScoringFunction("cosine" if self.cosine else "dot"),
            "framework": ["JAX", "PyTorch"],
            "use_instructions": False,
            "experiment_kwargs": dict(self.factors) or None,
        }
        return library.ModelMeta.create_empty(overwrites=known)

    def encode(
        self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any
    ) -> Float[np.ndarray, "n d"]:
        """Return a row for every item of mteb's ``DataLoader``, in its order.

        Queries and documents are rows in the roles of a hub correction, others are plain.

        Raises:
            FreeBindError: An item cannot be read, or has no modality that the model knows.
        """
        dataset, size = undecoded(inputs.dataset), inputs.batch_size
        role = ROLES.get(getattr(prompt_type, "value", None))
        rows = []
        for start in range(0, len(dataset), size):
            rows.append(self.rows_of(dataset[start : start + size], task_metadata, role))
            self.progress(len(rows[-1]))
        return np.concatenate(rows)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of every row of one array with every row of another."""
        library = _library("mteb.similarity_functions")
        return (library.cos_sim if self.cosine else library.dot_score)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of each row of one array with that row of another."""
        library = _library("mteb.similarity_functions")
        return (library.pairwise_cos_sim if self.cosine else library.pairwise_dot_score)(
            embeddings1, embeddings2
        )


def fused_model(embedder: Embedder) -> MtebModel:
    """Return a fused space, at its own factors, as a model of mteb.

    Args:
        embedder: The space and the encoders of its native spaces.

    Raises:
        FreeBindError: mteb is not installed, or a native space has no encoder.
    """
    space = embedder.space
    encoders = {name: _identity(embedder, name) for name in space.spaces}
    return MtebModel(
        name=space.title,
        dim=space.role_dim,
        modalities=_known(space.modalities),
        revision=files.sha256_of_json([digest(space), encoders]),
        licences=[_licence_of(embedder, name) for name in space.spaces],
        cosine=space.last.normalise,
        factors=space.factors,
        rows_of=_rows_of(embedder.embed, space.modalities),
    )


def native_model(embedder: Embedder, name: str) -> MtebModel:
    """Return a native space of a fused space as a model of mteb.

    Args:
        embedder: The space and the encoders of its native spaces.
        name: Name of the native space.

    Raises:
        FreeBindError: mteb is not installed, or the native space has no encoder.
    """
    modalities = embedder.space.modalities_of(name)

    def encode(modality: str, items: Sequence[Any], _: Role | None) -> Float[np.ndarray, "b d"]:
        return unit_rows(embedder.encode(name, modality, items))

    return MtebModel(
        name=name,
        dim=embedder.space.dims[name],
        modalities=_known(modalities),
        revision=files.sha256_of_json(_identity(embedder, name)),
        licences=[_licence_of(embedder, name)],
        cosine=True,
        factors={},
        rows_of=_rows_of(encode, modalities),
    )


def _rows_of(embed: Embed, modalities: Sequence[str]) -> RowsOf:
    """Return the function that encodes batches.

    The row of an item of several modalities is the unit sum of their unit rows [O], as in mteb's
    own wrapper of ImageBind.
    """

    def rows_of(batch: Batch, _: Any, role: Role | None = None) -> Float[np.ndarray, "b d"]:
        known = [modality for modality in _known(modalities) if modality in batch]
        lacking = [[item is None for item in batch[modality]] for modality in known]
        if not known or np.all(lacking, axis=0).any():
            raise FreeBindError(
                "an item of this task has nothing that the model encodes",
                expected=", ".join(modalities),
                got=", ".join(batch),
                fix="judge a space that has the task's modalities",
            )
        given = [modality for modality in known if any(i is not None for i in batch[modality])]
        parts = [_embedded(embed, modality, batch[modality], role) for modality in given]
        return parts[0] if len(parts) == 1 else unit_rows(np.sum([*map(unit_rows, parts)], axis=0))

    return rows_of


def _embedded(
    embed: Embed,
    modality: str,
    items: Sequence[Any],
    role: Role | None,
) -> Float[np.ndarray, "b d"]:
    """Return rows of items of one modality; zeros for items that lack it."""
    here = [i for i, item in enumerate(items) if item is not None]
    with as_items(modality, [items[i] for i in here]) as readable:
        found = embed(modality, readable, role)
    rows = np.zeros((len(items), found.shape[1]), found.dtype)
    rows[here] = found
    return rows


def _known(modalities: Sequence[str]) -> list[str]:
    return [modality for modality in MODALITIES if modality in modalities]


def _identity(embedder: Embedder, name: str) -> list[str]:
    """Return the name of a native space's encoder and the digest of its weights."""
    encoder: Any = embedder.encoder(name)
    about = [getattr(encoder, field, "unknown") for field in ("name", "weights_sha256")]
    if "unknown" in about:
        notice_once(
            f"{name}: its encoder does not say which weights it has; keep results of others apart"
        )
    return [f"{type(encoder).__module__}.{type(encoder).__qualname__}", *map(str, about)]


def _licence_of(embedder: Embedder, name: str) -> str:
    encoder: Any = embedder.encoder(name)
    return str(embedder.space.licences.get(name) or getattr(encoder, "licence", "unknown"))


def _licence(licences: Sequence[str]) -> str | None:
    """Return some licences as mteb names them; None if one is not known."""
    names = {licence.lower() for licence in licences}
    if len(names) > 1:
        return None if "unknown" in names else "multiple"
    known = get_args(_library("mteb.types").Licenses)
    return next((name for name in names if name in known), None)


def _library(module: str) -> Any:
    return import_extra(module, EXTRA)
