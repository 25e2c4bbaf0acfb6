import jax
import numpy as np
import pytest
from twin import error

from fb_jax.projector import DIRECTIONS, Bond, Projector, init_mixture, project, subsets

PROJECTOR = Projector(6, 8)


@pytest.fixture(scope="module")
def bond():
    return Bond(
        kind="combination",
        unified="imagebind",
        expert="clap_general",
        shared=("text", "audio"),
        members=subsets(["text", "image", "audio"]),
        projector=PROJECTOR,
        variables=jax.jit(init_mixture, static_argnums=(0, 2, 3))(
            PROJECTOR, jax.random.key(0), 5, 7
        ),
    )


@pytest.mark.parametrize("count", [1, 4096, 4097, 9000])
def test_many_rows_are_projected_in_blocks_as_they_are_at_once(bond, count):
    rows = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    found = bond.project(rows)
    assert found.dtype == np.float32
    assert error(found, project(PROJECTOR, bond.variables, rows)) < 1e-6


def test_no_rows_are_projected_to_no_rows(bond):
    assert bond.project(np.empty((0, 5), np.float32)).shape == (0, 6)


def test_projected_rows_are_unit_rows_and_a_zero_row_does_no_harm(bond):
    found = bond.project(np.eye(6, 5, dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(found[:5], axis=1), 1, rtol=1e-5)
    assert np.isfinite(found[5]).all()


def test_a_combination_projects_the_expert_and_a_displacement_the_unified_space(bond):
    assert {kind: (d.source, d.target, d.epochs) for kind, d in DIRECTIONS.items()} == {
        "combination": ("expert", "unified", 20),  # Eq. 8
        "displacement": ("unified", "expert", 5),  # Eq. 7
    }
    assert bond.direction == DIRECTIONS["combination"]
