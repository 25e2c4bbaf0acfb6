import pytest
from made import random_product

from fb_jax.fusion import FusedSpace


@pytest.fixture(scope="session")
def product() -> FusedSpace:
    """internvl_ib_pp of imagebind (64), internvl (56) and two CLAPs (48); never trained."""
    return random_product()
