"""A router of a fused space, trained on pseudo item pairs of its pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from fb_jax import files
from fb_jax.banks import BankSet, Progress, Split, no_progress
from fb_jax.errors import notice_once
from fb_jax.fusion import FusedSpace, digest, sources
from fb_jax.projector import SHAPES, Router, RouterSpec
from fb_jax.projector.router import SOURCE
from fb_jax.run.routing_pairs import item_pairs
from fb_jax.training.routing import Routing, RoutingRows, train_router


def with_routers(space: FusedSpace, routers: Mapping[str, Router]) -> FusedSpace:
    """Return a space whose last stage has these routers and no others."""
    return space.with_last(replace(space.last, routers=dict(routers)))


def router_spec(space: FusedSpace, modality: str, shape: str) -> RouterSpec:
    """Describe the router of a modality: it reads all native spaces that the modality has."""
    dims = {name: space.dims[name] for name in space.spaces_of(modality)}
    blocks = len(space.last.blocks_of(modality))
    return RouterSpec(modality, tuple(dims), tuple(dims.values()), blocks, SHAPES[shape])


def contributions(
    space: FusedSpace, modality: str, native: Mapping[str, np.ndarray]
) -> Float32[np.ndarray, "n b d"]:
    """Return what each block contributes to items' unit rows at the weights 1 (Eq. R4)."""
    spec = router_spec(space, modality, "small")
    bare = space.with_last(replace(space.last, normalise=False))
    alone = [
        with_routers(bare, {modality: Router.constant(spec, only)}).fuse(modality, native)
        for only in np.eye(spec.outputs, dtype=np.float32)
    ]
    blocks = np.stack(alone, axis=1)
    return blocks / np.linalg.norm(blocks.sum(axis=1), axis=1)[:, None, None]


def partners(space: FusedSpace, modality: str) -> tuple[str, ...]:
    """Return the modalities that some expert has beside this one.

    Only there has an item several scores of its own that weights can choose between [O].
    """
    having = [bond for bond in space.last.bonds if modality in bond.shared]
    return tuple(
        m for m in space.modalities if m != modality and any(m in b.shared for b in having)
    )


@dataclass(frozen=True)
class RouterJob:
    """What a router is trained on.

    Attributes:
        space: The space; routers of its other modalities stay as they are.
        modality: A weighted modality.
        pool: All native spaces over the pool.
        settings: See ``Routing``.
        others: Modalities whose items it is paired with; None: see ``partners``.
    """

    space: FusedSpace
    modality: str
    pool: BankSet
    settings: Routing
    others: tuple[str, ...] | None = None

    @property
    def spec(self) -> RouterSpec:
        """The description of the router."""
        return router_spec(self.space, self.modality, self.settings.shape)

    @property
    def paired(self) -> tuple[str, ...]:
        """The modalities whose items it is paired with."""
        return partners(self.space, self.modality) if self.others is None else self.others

    @property
    def plain(self) -> FusedSpace:
        """The space without a router of the modality, and without hub correction."""
        kept = {m: r for m, r in self.space.last.routers.items() if m != self.modality}
        return with_routers(self.space, kept).plain

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes this router from others, as JSON."""
        targets = self._sources()
        return {
            "format": "freebind-router",
            "version": 1,
            "router": asdict(self.spec),
            "settings": asdict(self.settings),
            "paired": self.paired,
            "space": digest(self.plain),
            "banks": self.pool.fingerprints(),
            "sources": None if targets is None else files.sha256_of_bytes(targets.tobytes()),
        }

    def train(self, progress: Progress = no_progress) -> Router:
        """Train the router; ``progress`` is called with 1 after every step."""
        settings, plain, spec = self.settings, self.plain, self.spec
        native = self._native(self.modality)
        x = plain.fuse(self.modality, native)
        ys = {m: plain.fuse(m, self._native(m)) for m in self.paired}
        pairs = {
            m: item_pairs(x, y, k=settings.k, alpha=settings.alpha, mutual=settings.mutual)
            for m, y in ys.items()
        }
        inputs = np.hstack([native[name] for name in spec.inputs])
        blocks, targets = contributions(plain, self.modality, native), self._sources()
        rows = RoutingRows(*jax.tree.map(jnp.asarray, (inputs, blocks, ys, targets)))
        return train_router(spec, rows, pairs, settings, progress)

    @property
    def _sample(self) -> BankSet:
        return self.pool.thinned(self.settings.items)

    def _native(self, modality: str) -> dict[str, Float32[np.ndarray, "n _"]]:
        return sources(self.space, self._sample, modality)

    @property
    def _knows_sources(self) -> bool:
        """Whether the outputs can fit the sources of texts: a sigmoid's, of text (Eq. R6)."""
        wanted = self.settings.source_weight > 0 and self.spec.shape.sigmoid
        return wanted and self.modality == SOURCE and isinstance(self.pool.split, Split)

    def _sources(self) -> Float32[np.ndarray, "n b"] | None:
        if not self._knows_sources:
            return None
        assert isinstance(self.pool.split, Split)
        items = self.pool.split.items(SOURCE)
        rows = self._sample.rows[SOURCE].tolist()
        return source_targets(self.space, [items[row].get("source") for row in rows])


def source_targets(space: FusedSpace, named: Sequence[object]) -> Float32[np.ndarray, "n b"] | None:
    """Return t of Eq. R6: whether the space of each block has the media that a text is about.

    Args:
        space: The space.
        named: Of each text, the modality that it describes, from the column ``source`` of its item.

    Returns:
        ``[n, b]`` 0 or 1, -1 for texts of unknown source; None, with a notice, if all are.
    """
    stage = space.last
    first, *bonds = [stage.bonds[0].spec.unified_modalities, *(b.shared for b in stage.bonds)]
    blocks = [
        m
        for m, name in zip([first, *bonds], (stage.unified, *stage.experts), strict=True)
        if name in stage.blocks_of(SOURCE)
    ]
    known = {m: [float(m in own) for own in blocks] for m in space.modalities}
    if not set(named) & set(known):
        notice_once(
            f"{space.title}: no text of the pool has the source {', '.join(known)}, so the router "
            "of text is trained without the loss on sources"
        )
        return None
    return np.array([known.get(str(name), [-1.0] * len(blocks)) for name in named], np.float32)
