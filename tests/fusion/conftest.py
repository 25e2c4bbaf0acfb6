import pytest
from made import random_bond, random_product

from fb_jax.fusion import FusedSpace

IMAGEBIND, CLAPS = ("imagebind", 64), (("clap_general", 48), ("clap_music", 48))


@pytest.fixture(scope="session")
def product() -> FusedSpace:
    """internvl_ib_pp of imagebind (64), internvl (56) and two CLAPs (48); never trained."""
    return random_product()


@pytest.fixture(scope="session")
def one(make_bond) -> FusedSpace:
    """A direct sum of imagebind (64) and clap_general (48); never trained."""
    return FusedSpace.of(make_bond("direct_sum"))


@pytest.fixture(scope="session")
def two() -> FusedSpace:
    """A direct sum of imagebind (64) and both CLAPs (48 each); never trained."""
    bonds = [random_bond("direct_sum", IMAGEBIND, clap, ("text", "audio"), 1) for clap in CLAPS]
    return FusedSpace.of(*bonds)


@pytest.fixture
def tuned(product: FusedSpace) -> FusedSpace:
    """internvl_ib with the rows of imagebind_tuned as its audio."""
    return FusedSpace.of(
        *product.base.last.bonds, tuned_rows={"audio": "imagebind_tuned"}, name="internvl_ib_tuned"
    )
