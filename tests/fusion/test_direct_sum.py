from dataclasses import replace

import numpy as np
import pytest
from made import random_bond

from fb_jax.banks import open_banks, unit_rows
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.models import evaluate
from fb_jax.fusion import FusedSpace, direct_sum, presets_for, space, weights_digest
from fb_jax.fusion.direct_sum import FILL

IMAGEBIND, CLAPS = ("imagebind", 64), (("clap_general", 48), ("clap_music", 48))
X, Y = np.eye(2, dtype=np.float32)[:, None]
MODALITIES = ("text", "image", "audio")


@pytest.fixture
def one():
    """A direct sum of imagebind (64) and clap_general (48); never trained."""
    return FusedSpace.halfway(random_bond("direct_sum", IMAGEBIND, CLAPS[0], ("text", "audio")))


@pytest.fixture
def two():
    """A direct sum of imagebind (64) and both CLAPs (48 each); never trained."""
    bonds = [random_bond("direct_sum", IMAGEBIND, clap, ("text", "audio"), 1) for clap in CLAPS]
    return FusedSpace.halfway(*bonds)


@pytest.fixture
def banks(root):
    return open_banks(root, "test", spaces=["imagebind", "clap_general"])


def native(fused, modality, count=4, seed=0):
    rng = np.random.default_rng([seed, MODALITIES.index(modality)])
    spaces = fused.spaces_of(modality)
    return {s: unit_rows(rng.normal(size=(count, fused.dims[s]))) for s in spaces}


# By hand


def test_the_parts_stand_side_by_side_at_the_roots_of_their_weights():
    found = direct_sum.joined(X, Y, 0.25)
    np.testing.assert_allclose(found, [[np.sqrt(0.75), 0, 0, 0.5]], atol=1e-7)


def test_experts_share_the_expert_part_equally_and_a_guess_has_a_small_share():
    np.testing.assert_allclose(
        direct_sum.expert_part([X, Y], np.float32([1, 1])), [[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]]
    )
    share = FILL / (1 + FILL)
    np.testing.assert_allclose(
        direct_sum.expert_part([X, Y], direct_sum.weights([True, False], FILL)),
        [[np.sqrt(1 - share), 0, 0, np.sqrt(share)]],
        atol=1e-6,
    )


@pytest.mark.parametrize("fill", [0.01, 0.4, 1.0])
def test_a_guess_weighs_as_told(one, fill):
    fused = replace(one, fill=fill)
    rows = native(one, "image")
    guess = one.bonds[0].project(rows["imagebind"])
    found = fused.with_factors(image=0.5).fuse("image", rows)
    np.testing.assert_allclose(found[:, 64:], np.sqrt(0.5 * fill) * guess, atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, -0.1, 1.1])
def test_a_guess_weighs_something_and_at_most_as_much_as_an_embedding(one, fill):
    with pytest.raises(FreeBindError, match=r"fill\n.*above 0 to 1"):
        replace(one, fill=fill)


def test_the_strongest_axis_of_rows_is_their_common_direction_not_what_tells_them_apart():
    rows = np.float64([[5, 1], [5, -1]])  # centred, the second axis would be the first
    axes = direct_sum.principal_axes(rows.T @ rows / 2, 1)
    np.testing.assert_allclose(axes, [[1], [0]], atol=1e-7)


# Scores


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_score_is_the_weighted_sum_of_the_spaces_scores(one, weight):
    fused = one.with_factors(text=weight, audio=weight)
    text, audio = native(one, "text"), native(one, "audio")
    scores = fused.fuse("text", text) @ fused.fuse("audio", audio).T
    unified, expert = (text[s] @ audio[s].T for s in one.spaces)
    np.testing.assert_allclose(scores, (1 - weight) * unified + weight * expert, atol=1e-6)


def test_at_unequal_factors_each_space_counts_by_the_roots_of_both(one):
    fused = one.with_factors(text=0.2, audio=0.7)
    text, audio = native(one, "text"), native(one, "audio")
    scores = fused.fuse("text", text) @ fused.fuse("audio", audio).T
    unified, expert = (text[s] @ audio[s].T for s in one.spaces)
    wanted = np.sqrt(0.8 * 0.3) * unified + np.sqrt(0.2 * 0.7) * expert
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -3, 113])
def test_dimensions_that_cannot_be_are_refused(one, banks, dim):
    with pytest.raises(FreeBindError, match=r"cannot be cut to this\n(.|\n)*1 to 112 dimensions"):
        one.cut(dim, banks)


def test_at_equal_weights_shared_modalities_have_the_mean_of_all_scores(two):
    fused = two.at("equal")
    text, audio = native(two, "text"), native(two, "audio")
    scores = fused.fuse("text", text) @ fused.fuse("audio", audio).T
    mean = np.mean([text[s] @ audio[s].T for s in two.spaces], axis=0)
    np.testing.assert_allclose(scores, mean, atol=1e-6)


def test_a_modality_that_the_expert_lacks_is_filled_in_by_the_mixture(one):
    rows = native(one, "image")
    found = one.with_factors(image=1.0).fuse("image", rows)
    guess = one.bonds[0].project(rows["imagebind"])
    np.testing.assert_allclose(
        found, np.hstack([np.sqrt(1 - FILL) * rows["imagebind"], np.sqrt(FILL) * guess]), atol=1e-6
    )


def test_rows_are_unit_rows_of_all_dimensions(two):
    assert two.dim == 64 + 48 + 48
    for modality in MODALITIES:
        found = two.fuse(modality, native(two, modality))
        assert found.shape == (4, 160)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_it_has_one_preset_at_which_every_space_weighs_the_same(one, two):
    assert presets_for(one) == {"equal": dict.fromkeys(("text", "audio", "image"), 0.5)}
    assert presets_for(two)["equal"]["image"] == pytest.approx(2 / 3)


def test_one_of_its_experts_alone_keeps_the_factors_of_every_modality(two):
    alone = two.with_experts("clap_music")
    assert (alone.spaces, alone.dim) == (("imagebind", "clap_music"), 112)
    assert alone.factors == two.factors


def test_it_does_not_mix_with_other_kinds_of_bond(one):
    other = random_bond("combination", IMAGEBIND, CLAPS[1], ("text", "audio"))
    with pytest.raises(FreeBindError, match="do not go into one space"):
        FusedSpace.halfway(one.bonds[0], other)


def test_the_unified_space_may_be_a_product(product):
    bond = random_bond("direct_sum", ("internvl_ib", 56), CLAPS[0], ("text", "audio"))
    fused = FusedSpace.halfway(bond, base=product.base)
    rows = native(fused, "text")
    base = product.base.fuse("text", {s: rows[s] for s in product.base.spaces})
    np.testing.assert_allclose(
        fused.fuse("text", rows), np.hstack([base, rows["clap_general"]]) / np.sqrt(2), atol=1e-6
    )


# Cutting


def test_a_cut_is_the_rows_own_pca_in_float64(one, banks):
    fused = one.at("equal")
    cut = fused.cut(20, banks)
    rows = {m: fused.fuse(m, {s: banks[s, m][:] for s in fused.spaces_of(m)}) for m in MODALITIES}
    moment = np.mean(
        [np.cov(r.T, ddof=0) + np.outer(r.mean(0), r.mean(0)) for r in rows.values()], 0
    )
    _, vectors = np.linalg.eigh(moment)
    wanted = vectors[:, -20:] @ vectors[:, -20:].T
    np.testing.assert_allclose(cut.basis @ cut.basis.T, wanted, atol=1e-4)
    assert cut.dim == 20
    for modality in MODALITIES:
        found = cut.fuse(modality, {s: banks[s, modality][:] for s in cut.spaces_of(modality)})
        np.testing.assert_allclose(found, unit_rows(rows[modality] @ cut.basis), atol=1e-6)


def test_cut_to_its_own_dimensions_it_has_the_same_scores(one, banks):
    fused = one.at("equal")
    cut = fused.cut(one.dim, banks)
    text, audio = (native(one, m, seed=1) for m in ("text", "audio"))
    scores = [f.fuse("text", text) @ f.fuse("audio", audio).T for f in (fused, cut)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_a_cut_reads_a_bounded_number_of_rows_of_a_modality(one, banks, monkeypatch):
    monkeypatch.setattr(space, "CUT_ROWS", 20)
    read = []
    sources = space.sources
    monkeypatch.setattr(
        space, "sources", lambda *args: read.append(sources(*args)) or sources(*args)
    )
    one.cut(8, banks)
    assert [len(rows["imagebind"]) for rows in read] == [20, 20, 20]


def test_a_cut_space_is_evaluated_beside_the_uncut(one, banks):
    found = evaluate(one.at("equal").cut(4, banks), banks)
    assert list(found)[-3:] == ["equal", "equal, 4 dimensions", "mean_of_scores"]
    whole = evaluate(one.at("equal"), banks)
    assert found["equal"] == whole["equal"]
    assert found["equal"] != found["equal, 4 dimensions"]
    assert whole["equal"]["audio-text"] == whole["mean_of_scores"]["audio-text"]


def test_a_cut_space_comes_back_to_the_bit(one, banks, tmp_path):
    cut = one.cut(24, banks)
    cut.save(tmp_path / "kept")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert weights_digest(loaded) == weights_digest(cut) != weights_digest(one)
    rows = native(cut, "image")
    np.testing.assert_array_equal(loaded.fuse("image", rows), cut.fuse("image", rows))
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "a direct sum of 24 dimensions, cut from 112 by PCA" in card


def test_only_a_direct_sum_can_be_cut_and_only_by_a_basis_of_its_own(one, product, banks):
    with pytest.raises(FreeBindError, match="only a direct sum can be cut"):
        replace(product, basis=np.eye(48, dtype=np.float32))
    with pytest.raises(FreeBindError, match=r"a basis is of another space\n.*\n.*112 rows"):
        replace(one, basis=np.eye(48, dtype=np.float32))
