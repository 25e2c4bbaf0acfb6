from collections.abc import Callable
from functools import cache, partial

import jax
import numpy as np
import pytest

from fb_jax.projector import Bond, BondKind, Projector, Variables, init_mixture, subsets


@pytest.fixture(scope="session")
def make_bond() -> Callable[[BondKind], Bond]:
    """Return a bond of imagebind (64) and clap_general (48) with random numbers: never trained."""

    @cache
    def make_bond(kind: BondKind) -> Bond:
        dim_in, dim_out = (48, 64) if kind == "combination" else (64, 48)
        projector, members = Projector(dim_out, hidden=8), subsets(["text", "image", "audio"])
        init = partial(init_mixture, projector, dim=dim_in, members=len(members))
        form, rng = jax.eval_shape(init, jax.random.key(0)), np.random.default_rng(0)
        draw = lambda low, leaf: rng.uniform(low, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
        return Bond(
            kind=kind,
            unified="imagebind",
            expert="clap_general",
            shared=("text", "audio"),
            modalities=members[-1],
            members=members,
            projector=projector,
            variables=Variables(
                params=jax.tree.map(partial(draw, -1.5), form.params),
                batch_stats=jax.tree.map(partial(draw, 0.5), form.batch_stats),
            ),
        )

    return make_bond
