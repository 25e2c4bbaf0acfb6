import pickle
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from made import changed, linear_bond, native_rows

from fb_jax.errors import FreeBindError
from fb_jax.fusion import CutSum, FusedSpace, digest, with_basis

SAME, SWAP = np.eye(2), np.eye(2)[::-1]
COMBINATION = linear_bond("combination", SAME)


def named(expert, *maps, **fields):
    return changed(linear_bond("combination", *maps), expert=expert, **fields)


# What a stage refuses


@pytest.mark.parametrize(
    ("bonds", "says"),
    [
        ((), "needs a bond"),
        ((linear_bond("displacement", SAME), named("f", SAME)), "displacement of e and u"),
        ((linear_bond("direct_sum", SAME), named("f", SAME)), "do not go into one space"),
        ((named("e", SAME), named("f", SAME, unified="v")), "combination of f and v"),
        ((named("e", SAME), named("f", np.ones((2, 3)))), "do not go into one space"),
        ((named("e", SAME), named("e", SWAP)), "fused with itself"),
        ((named("u", SAME),), "fused with itself"),
    ],
)
def test_bonds_that_do_not_go_into_one_space_are_refused(bonds, says):
    with pytest.raises(FreeBindError, match=says):
        FusedSpace.of(*bonds, at={"text": 0.5, "audio": 0.5})


@pytest.mark.parametrize("name", ["image", "video"])
def test_a_factor_for_a_modality_that_the_expert_lacks_is_refused(name):
    with pytest.raises(FreeBindError, match=rf"no factor of e for '{name}'(.|\n)*audio, text"):
        FusedSpace.of(COMBINATION).with_factors(**{name: 0.5})
    with pytest.raises(FreeBindError, match=f"no factor of e for '{name}'"):
        FusedSpace.of(COMBINATION, at={"text": 0.5, "audio": 0.5, name: 0.5})


@pytest.mark.parametrize("factor", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_factor_outside_0_to_1_is_refused(factor):
    got = re.escape(repr(factor))
    sums = [FusedSpace.of(b).last for b in (COMBINATION, linear_bond("direct_sum", SAME))]
    with pytest.raises(FreeBindError, match=rf"factor of audio is.*\n.*a number, 0 to 1\n.*{got}"):
        replace(sums[0], factors={"text": 0.5, "audio": factor})
    with pytest.raises(FreeBindError, match=rf"fill is.*\n.*a number, 1e-06 to 1\n.*{got}"):
        replace(sums[1], fill=factor)


def test_a_factor_for_every_modality_of_the_expert_is_needed():
    with pytest.raises(FreeBindError, match=r"a factor is missing\n.*audio"):
        FusedSpace.of(COMBINATION, at={"text": 0.5})


@pytest.mark.parametrize(
    ("tuned_rows", "says"),
    [
        ({"depth": "tuned"}, "there is no modality 'depth'"),
        ({"image": "tuned"}, "tuned rows cannot be fused"),
        ({"audio": "internvl"}, "tuned rows cannot be fused"),
    ],
)
def test_tuned_rows_that_do_not_fit_are_refused(product, tuned_rows, says):
    with pytest.raises(FreeBindError, match=says):
        replace(product.base.last, tuned_rows=tuned_rows)


# Equal, or not


def basis_of(space, dim=8):
    """Orthonormal columns that were never fitted."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(space.dim, dim)))[0].astype(
        np.float32
    )


@pytest.fixture
def spaces(product, one, tuned):
    cut = with_basis(one, basis_of(one))
    return {"product": product, "direct sum": one, "cut": cut, "tuned": tuned}


def with_bond(stage, bond):
    """A stage with another first bond."""
    return replace(stage, bonds=(bond, *stage.bonds[1:]))


def nudged(stage):
    """One number of the first bond moved by the least that there is."""
    bond, done = stage.bonds[0], []

    def nudge(leaf):
        done.append(leaf)
        if len(done) > 1:
            return leaf
        moved = np.array(leaf)
        moved.flat[-1] = np.nextafter(moved.flat[-1], np.float32(9))
        return moved

    return with_bond(stage, replace(bond, variables=jax.tree.map(nudge, bond.variables)))


def respecified(**fields):
    return lambda stage: with_bond(stage, changed(stage.bonds[0], **fields))


def members_reversed(stage):
    return respecified(members=stage.bonds[0].members[::-1])(stage)


OF_A_ROW = {  # what a fused row depends on
    "factor": ("product", lambda stage: replace(stage, factors={**stage.factors, "text": 0.2})),
    "normalise": ("product", lambda stage: replace(stage, normalise=False)),
    "number": ("product", nudged),
    "shared": ("product", respecified(shared=("text",))),
    "members": ("product", members_reversed),
    "modalities": ("tuned", respecified(modalities=("image", "text", "audio"))),
    "expert": ("product", respecified(expert="clap_other")),
    "tuned rows": ("tuned", lambda stage: replace(stage, tuned_rows={"audio": "other"})),
    "no tuned rows": ("tuned", lambda stage: replace(stage, tuned_rows={})),
    "fill": ("direct sum", lambda stage: replace(stage, fill=0.06)),
    "cut": ("direct sum", lambda stage: CutSum(**vars(stage), basis=basis_of(stage))),
    "basis": ("cut", lambda stage: replace(stage, basis=-stage.basis)),
    "fill of a cut": ("cut", lambda stage: replace(stage, fill=0.06)),
}


@pytest.mark.parametrize("part", OF_A_ROW)
def test_whatever_a_row_depends_on_makes_spaces_unequal_and_comes_back_from_disk(
    spaces, part, tmp_path
):
    which, change = OF_A_ROW[part]
    space = spaces[which]
    other = space.with_last(change(space.last))
    assert other != space
    assert other.last != space.last
    assert digest(other) != digest(space)
    other.save(tmp_path / "kept")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert digest(loaded) == digest(other)
    assert loaded == other.named(other.title)


# Hash, pickle, print


@pytest.mark.parametrize("which", ["product", "direct sum", "cut", "tuned"])
def test_a_space_and_its_stages_hash_pickle_and_print(spaces, which):
    space = spaces[which]
    for whole in (space, *space.stages):
        again = pickle.loads(pickle.dumps(whole))
        assert again == whole
        assert type(again) is type(whole)
        assert len({again, whole}) == 1
        assert "array" not in repr(whole)
        assert len(repr(whole)) < 600 * (1 + len(space.stages))
    rows = native_rows(space, "text")
    again = pickle.loads(pickle.dumps(space))
    np.testing.assert_array_equal(again.fuse("text", rows), space.fuse("text", rows))


def test_a_space_prints_on_one_line(product):
    assert str(product) == (
        "internvl_ib_pp: 56 dimensions, weights of the experts: audio 0.5, text 0.1"
        " (preset versatile)"
    )
