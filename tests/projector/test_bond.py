import json
import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin import error

from fb_jax.errors import FreeBindError
from fb_jax.projector import (
    DIRECTIONS,
    Bond,
    BondSpec,
    End,
    Projector,
    init_mixture,
    project_members,
)

PROJECTOR = Projector(6, 8)
SPEC = BondSpec.between(
    "combination",
    End("imagebind", ["audio", "image", "text"], 6),
    End("clap_general", ["audio", "text"], 5),
    hidden=8,
)


@pytest.fixture(scope="module")
def bond():
    init = jax.jit(init_mixture, static_argnums=(0, 2, 3))
    return Bond(SPEC, init(PROJECTOR, jax.random.key(0), 5, 7))


@pytest.mark.parametrize("count", [1, 4096, 4097, 9000])
def test_many_rows_are_projected_in_blocks_as_they_are_at_once(bond, count):
    rows = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    found = bond.project(rows)
    assert found.dtype == np.float32
    outputs = np.mean(project_members(PROJECTOR, bond.variables, jnp.asarray(rows)), axis=0)
    assert error(found, outputs / np.linalg.norm(outputs, axis=1, keepdims=True)) < 1e-6


def test_projected_rows_are_unit_rows_and_a_zero_row_does_no_harm(bond):
    found = bond.project(np.eye(6, 5, dtype=np.float32))
    np.testing.assert_allclose(np.linalg.norm(found[:5], axis=1), 1, rtol=1e-5)
    assert np.isfinite(found[5]).all()


def test_which_side_a_bond_projects(bond):
    assert {kind: (d.source, d.target, d.epochs) for kind, d in DIRECTIONS.items()} == {
        "combination": ("expert", "unified", 20),  # Eq. 8
        "displacement": ("unified", "expert", 5),  # Eq. 7
        "direct_sum": ("unified", "expert", 5),
        "cmcr": ("expert", "unified", 36),
        "exmcr": ("expert", "unified", 36),
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
    assert bond.to_target("unified", "text", rows) is rows


def test_a_bond_is_described_by_its_two_ends():
    assert (SPEC.modalities, SPEC.shared) == (("text", "image", "audio"), ("text", "audio"))
    assert (len(SPEC.members), SPEC.members[-1]) == (7, SPEC.modalities)
    assert (SPEC.dim_in, SPEC.dim_out, SPEC.dim("unified"), SPEC.dim("expert")) == (5, 6, 6, 5)
    ends = End("u", ("a", "b"), 6), End("e", ("a", "b"), 5)
    displacement = BondSpec.between("displacement", *ends, 8)
    assert (displacement.dim_in, displacement.dim_out) == (6, 5)


def test_a_description_comes_back_from_json():
    assert BondSpec.from_json(json.loads(json.dumps(SPEC.to_json())), "") == SPEC
    older = {k: v for k, v in SPEC.to_json().items() if k != "modalities"} | {"precision": "tf32"}
    assert BondSpec.from_json(older, "") == SPEC


def test_bonds_compare_hash_copy_and_print(bond):
    assert bond.folded() is bond.folded()
    again = pickle.loads(pickle.dumps(bond))
    assert "_folded" not in vars(again)
    other = Bond(SPEC, jax.tree.map(lambda leaf: leaf + 1, bond.variables))
    assert (again == bond, hash(again) == hash(bond)) == (True, True)
    assert bond not in (other, Bond(SPEC), replace(bond, spec=replace(SPEC, expert="e")), "bond")
    assert len({bond, again, other}) == 2
    assert "clap_general" in repr(bond)
    assert len(repr(bond)) < 600


def test_a_planned_bond_can_be_asked_for_anything_but_a_projection():
    planned = Bond(SPEC)
    assert (planned.dim("unified"), planned.only(("text",)).members) == (6, (("text",),))
    with pytest.raises(FreeBindError, match=r"not trained yet\n.*clap_general and imagebind"):
        planned.project(np.eye(5, dtype=np.float32))


def test_precision_is_chosen_when_rows_are_projected(bond):
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    half = error(bond.project(rows, "bf16"), bond.project(rows))
    assert 1e-4 < half < 1e-1
