"""Bonds and products that were never trained: random numbers in the right shapes."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond, BondKind, BondSpec, End, Variables, init_mixture


def random_bond(
    kind: BondKind,
    unified: tuple[str, int],
    expert: tuple[str, int],
    shared: tuple[str, ...],
    seed: int = 0,
) -> Bond:
    """Return a bond of two spaces, name and dimension, with random numbers: never trained."""
    ends = (
        End(unified[0], ("text", "image", "audio"), unified[1]),
        End(expert[0], shared, expert[1]),
    )
    spec = BondSpec.between(kind, *ends, hidden=8)
    init = partial(init_mixture, spec.projector(), dim=spec.dim_in, members=7)
    shapes, rng = jax.eval_shape(init, jax.random.key(0)), np.random.default_rng(seed)
    draw = lambda low, leaf: rng.uniform(low, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    variables = Variables(
        params=jax.tree.map(partial(draw, -1.5), shapes.params),
        batch_stats=jax.tree.map(partial(draw, 0.5), shapes.batch_stats),
    )
    return Bond(spec, variables)


def random_product() -> FusedSpace:
    """internvl_ib_pp: imagebind (64) displaced into internvl (56), then two CLAPs (48) combined."""
    base = FusedSpace.of(
        random_bond("displacement", ("imagebind", 64), ("internvl", 56), ("text", "image")),
        name="internvl_ib",
    )
    claps = [
        random_bond("combination", ("internvl_ib", 56), (name, 48), ("text", "audio"), seed)
        for seed, name in enumerate(("clap_music", "clap_general"), start=1)
    ]
    return FusedSpace.of(*claps, base=base, name="internvl_ib_pp")
