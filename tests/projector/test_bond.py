import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin import error

from fb_jax.errors import FreeBindError
from fb_jax.projector import (
    DIRECTIONS,
    Bond,
    Projector,
    init_mixture,
    project_members,
    subsets,
)

PROJECTOR = Projector(6, 8)


@pytest.fixture(scope="module")
def bond():
    return Bond(
        kind="combination",
        unified="imagebind",
        expert="clap_general",
        shared=("text", "audio"),
        modalities=("text", "image", "audio"),
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
    outputs = np.mean(project_members(PROJECTOR, bond.variables, jnp.asarray(rows)), axis=0)
    assert error(found, outputs / np.linalg.norm(outputs, axis=1, keepdims=True)) < 1e-6


def test_no_rows_are_projected_to_no_rows(bond):
    assert bond.project(np.empty((0, 5), np.float32)).shape == (0, 6)


def test_projected_rows_are_unit_rows_and_a_zero_row_does_no_harm(bond):
    found = bond.project(np.eye(6, 5, dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(found[:5], axis=1), 1, rtol=1e-5)
    assert np.isfinite(found[5]).all()


def test_a_combination_projects_the_expert_and_the_other_bonds_the_unified_space(bond):
    assert {kind: (d.source, d.target, d.epochs) for kind, d in DIRECTIONS.items()} == {
        "combination": ("expert", "unified", 20),  # Eq. 8
        "displacement": ("unified", "expert", 5),  # Eq. 7
        "direct_sum": ("unified", "expert", 5),
    }
    assert bond.direction == DIRECTIONS["combination"]


def test_a_member_alone_gives_its_own_output(bond):
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    outputs = project_members(PROJECTOR, bond.variables, jnp.asarray(rows))
    for member, output in zip(bond.members, outputs, strict=True):
        alone = bond.only(member)
        assert (alone.members, alone.modalities) == ((member,), bond.modalities)
        assert error(alone.project(rows), output) < 1e-6


def test_a_member_that_does_not_exist_is_refused(bond):
    with pytest.raises(FreeBindError, match=r"trained on 'image\+text'(.|\n)*text\+image"):
        bond.only(("image", "text"))


def test_the_side_that_is_kept_stays_as_it_is(bond):
    rows = np.eye(6, dtype=np.float32)
    assert bond.place("unified", rows) is rows
