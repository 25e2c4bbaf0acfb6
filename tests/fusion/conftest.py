from collections.abc import Callable
from functools import cache

import pytest
from made import random_bond, random_product

from fb_jax.fusion import FusedSpace
from fb_jax.projector import Bond, BondKind


@pytest.fixture(scope="session")
def make_bond() -> Callable[[BondKind], Bond]:
    """Return a bond of imagebind (64) and clap_general (48) with random numbers: never trained."""

    @cache
    def make_bond(kind: BondKind) -> Bond:
        return random_bond(kind, ("imagebind", 64), ("clap_general", 48), ("text", "audio"))

    return make_bond


@pytest.fixture(scope="session")
def product() -> FusedSpace:
    """internvl_ib_pp of imagebind (64), internvl (56) and two CLAPs (48); never trained."""
    return random_product()
