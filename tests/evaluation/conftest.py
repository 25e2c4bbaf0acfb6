import pytest

from fb_jax.banks import BankSet
from fb_jax.evaluation import Metrics, evaluate
from fb_jax.fusion import FusedSpace
from fb_jax.training import load_bond


@pytest.fixture(scope="session")
def space(run_folder) -> FusedSpace:
    """A trained combination of clap_general into imagebind."""
    return FusedSpace.preset("versatile", load_bond(run_folder / "bond"))


@pytest.fixture(scope="session")
def metrics(space: FusedSpace, test_banks: BankSet) -> Metrics:
    """What ``evaluate`` says of it. Read only."""
    return evaluate(space, test_banks)
