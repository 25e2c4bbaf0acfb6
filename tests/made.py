"""Bonds and products that were never trained: random numbers in the right shapes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np

from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond, BondKind, Projector, Variables, init_mixture, subsets


def random_bond(
    kind: BondKind,
    unified: tuple[str, int],
    expert: tuple[str, int],
    shared: tuple[str, ...],
    seed: int = 0,
) -> Bond:
    """Return a bond of two spaces, name and dimension, with random numbers: never trained."""
    ends = (expert[1], unified[1]) if kind == "combination" else (unified[1], expert[1])
    projector, members = Projector(ends[1], hidden=8), subsets(["text", "image", "audio"])
    init = partial(init_mixture, projector, dim=ends[0], members=len(members))
    form, rng = jax.eval_shape(init, jax.random.key(0)), np.random.default_rng(seed)
    draw = lambda low, leaf: rng.uniform(low, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    return Bond(
        kind=kind,
        unified=unified[0],
        expert=expert[0],
        shared=shared,
        modalities=members[-1],
        members=members,
        projector=projector,
        variables=Variables(
            params=jax.tree.map(partial(draw, -1.5), form.params),
            batch_stats=jax.tree.map(partial(draw, 0.5), form.batch_stats),
        ),
    )


def random_product() -> FusedSpace:
    """internvl_ib_pp: imagebind (64) displaced into internvl (56), then two CLAPs (48) combined."""
    base = FusedSpace.preset(
        "it_expertise",
        random_bond("displacement", ("imagebind", 64), ("internvl", 56), ("text", "image")),
    )
    claps = [
        random_bond("combination", ("internvl_ib", 56), (name, 48), ("text", "audio"), seed)
        for seed, name in enumerate(("clap_music", "clap_general"), start=1)
    ]
    space = FusedSpace.preset("versatile", *claps, base=replace(base, name="internvl_ib"))
    return replace(space, name="internvl_ib_pp")
