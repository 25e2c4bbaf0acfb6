"""Routers of a fused space: trained on the pool, kept where validation says that they pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from fb_jax.banks import BankSet, Progress, no_progress
from fb_jax.fusion import FusedSpace, sources
from fb_jax.projector import SHAPES, Router, RouterSpec
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


def sampled(banks: BankSet, modality: str, most: int) -> slice:
    """Return at most so many items of a modality, evenly spaced."""
    return slice(None, None, max(1, -(-len(banks.rows[modality]) // most)))


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
    return tuple(m for m in space.modalities if m != modality and any(m in b.shared for b in having))


def train_on_pool(
    space: FusedSpace,
    modality: str,
    pool: BankSet,
    settings: Routing,
    others: Iterable[str] | None = None,
    progress: Progress = no_progress,
) -> Router:
    """Train the router of a modality on item pairs of the pool.

    Args:
        space: The space; routers of its other modalities stay as they are.
        modality: A weighted modality.
        pool: All native spaces over the pool.
        settings: See ``Routing``.
        others: Modalities whose items it is paired with; None: see ``partners``.
        progress: Called with 1 after every step.
    """
    kept = {m: router for m, router in space.last.routers.items() if m != modality}
    plain = with_routers(space, kept)
    names = partners(space, modality) if others is None else tuple(others)
    read = lambda m: sources(plain, pool, m, sampled(pool, m, settings.items))  # noqa: E731
    native = read(modality)
    x, ys = plain.fuse(modality, native), {m: plain.fuse(m, read(m)) for m in names}
    how = {"k": settings.k, "alpha": settings.alpha, "mutual": settings.mutual}
    pairs = {m: item_pairs(x, y, **how) for m, y in ys.items()}
    spec = router_spec(space, modality, settings.shape)
    inputs = np.hstack([native[name] for name in spec.inputs])
    rows = RoutingRows(inputs, contributions(plain, modality, native), ys)
    return train_router(spec, rows, pairs, settings, progress)
