import pytest

from fb_jax.banks import BankSet
from fb_jax.evaluation import Results, evaluate
from fb_jax.fusion import FusedSpace
from fb_jax.training import load_bond


@pytest.fixture(scope="session")
def space(run_folder) -> FusedSpace:
    """A trained combination of clap_general into imagebind."""
    return FusedSpace.of(load_bond(run_folder / "bond"), at="versatile")


@pytest.fixture(scope="session")
def metrics(space: FusedSpace, test_banks: BankSet) -> Results:
    """Its results. Read only."""
    return evaluate(space, test_banks)
