from operator import itemgetter

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import changed, linear_bond, native_rows, random_bond

from fb_jax.errors import FreeBindError
from fb_jax.fusion import (
    PRESETS,
    DirectSum,
    FusedSpace,
    Parts,
    WeightedSum,
    parts_of,
    with_basis,
)
from fb_jax.fusion.sums import FILL

KINDS = ["combination", "displacement"]
SAME, SWAP = np.eye(2), np.eye(2)[::-1]
X, Y = np.eye(2, dtype=np.float32)[:, None]  # two embeddings of one item, [1, 2] each
MODALITIES = ("text", "image", "audio")


def space(kind="combination", *maps, text=0.25, audio=0.5, normalise=True) -> FusedSpace:
    bond = linear_bond(kind, *(maps or (SWAP,)))
    return FusedSpace.of(bond, at={"text": text, "audio": audio}, normalise=normalise)


def experts(*bonds, **at) -> FusedSpace:
    return FusedSpace.of(*bonds, at={"text": 1.0, **at})


def named(expert, *maps, kind="combination", **fields):
    return changed(linear_bond(kind, *maps), expert=expert, **fields)


def close(found, wanted):
    np.testing.assert_allclose(found, np.atleast_2d(wanted), atol=2e-6)


# Eq. 3, 9, 10 by hand: the unified space has X, the expert has X, the projector swaps X and Y


@pytest.mark.parametrize(
    ("kind", "normalise", "fused"),
    [
        ("combination", False, 0.75 * X + 0.25 * Y),  # (1 - st) T^u + st Psi(T^e)
        ("displacement", False, 0.75 * Y + 0.25 * X),  # (1 - lt) Psi(T^u) + lt T^e
        ("combination", True, (3 * X + Y) / np.sqrt(10)),
        ("displacement", True, (3 * Y + X) / np.sqrt(10)),
    ],
)
def test_a_shared_modality_is_the_weighted_sum_of_both_sides(kind, normalise, fused):
    close(space(kind, normalise=normalise).fuse("text", {"u": X, "e": X}), fused)


def test_every_modality_has_its_own_factor():
    close(space(normalise=False).fuse("audio", {"u": X, "e": X}), 0.5 * X + 0.5 * Y)


@pytest.mark.parametrize(("kind", "fused"), [("combination", X), ("displacement", Y)])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_modality_that_the_expert_lacks_is_the_unified_one(kind, fused, normalise):
    close(space(kind, normalise=normalise).fuse("image", {"u": X}), fused)


@pytest.mark.parametrize("maps", [(SAME, SWAP), (9 * SAME, SWAP)], ids=["equal", "of unequal norm"])
def test_the_mixture_is_the_mean_of_the_unit_outputs_of_its_members(maps):
    fused = space("combination", *maps, text=1.0)
    close(fused.fuse("text", {"u": X, "e": X}), (X + Y) / np.sqrt(2))


def test_a_fused_space_has_the_dimension_of_the_target():
    wide = np.array([[0, 1, 0], [1, 0, 0]])  # from 2 to 3 dimensions
    fused = space("displacement", wide, text=0.5, normalise=False)
    assert fused.dim == 3
    close(fused.fuse("text", {"u": X, "e": np.array([[0, 0, 1]], np.float32)}), [0, 0.5, 0.5])


# The same against a twin in float64


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def psi(x, params, stats):
    for end in ("in", "out"):
        norm, running = params[f"norm_{end}"], stats[f"norm_{end}"]
        x = x @ params[f"linear_{end}"]["kernel"] - running["mean"]
        x = x / np.sqrt(running["var"] + 1e-5) * norm["scale"] + norm["shift"]
        x = np.maximum(x, 0) if end == "in" else unit(x)
    return x


def members_of(x, variables):
    members = [jax.tree.map(itemgetter(member), variables) for member in range(7)]
    return [psi(x, *member) for member in members]


def mixture(x, variables):
    return unit(np.mean(members_of(x, variables), axis=0))


def twin(bond, factors, unified, expert):
    """Modality to fused rows: Eq. 9, 10 for a combination, Eq. 3 for a displacement."""
    fused = {}
    for m, rows in unified.items():
        if bond.kind == "combination":
            ours, theirs = rows, mixture(expert[m], bond.variables) if m in expert else None
        else:
            ours, theirs = mixture(rows, bond.variables), expert.get(m)
        fused[m] = ours if m not in expert else (1 - factors[m]) * ours + factors[m] * theirs
    return {m: unit(rows) for m, rows in fused.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "factors", [PRESETS["versatile"], PRESETS["at_expertise"], {"text": 0.0, "audio": 1.0}]
)
def test_a_fused_space_equals_its_float64_twin(make_bond, test_banks, kind, factors):
    bond = make_bond(kind)
    fused = FusedSpace.of(bond, at=factors)
    rows = {key: np.float64(bank[:]) for key, bank in test_banks.banks.items()}
    wanted = twin(
        bond,
        factors,
        unified={m: unit(rows["imagebind", m]) for m in MODALITIES},
        expert={m: unit(rows["clap_general", m]) for m in ("text", "audio")},
    )
    found = {m: fused.mix(m, parts) for m, parts in parts_of(fused, test_banks).items()}
    assert found.keys() == wanted.keys()
    for modality, embeddings in wanted.items():
        np.testing.assert_allclose(found[modality], embeddings, atol=1e-5)


def test_a_product_equals_its_float64_twin(product):
    """Eq. 3, then Eq. 9 and 10, a unit vector after every sum [C]; 14 members have equal shares."""
    rng = np.random.default_rng(3)
    rows = {space: unit(rng.normal(size=(9, dim))) for space, dim in product.dims.items()}
    psi_u = mixture(rows["imagebind"], product.base.last.bonds[0].variables)
    outputs = [members_of(rows[bond.expert], bond.variables) for bond in product.last.bonds]
    clap_part = unit(np.concatenate(outputs).mean(axis=0))
    displaced = unit(0.1 * psi_u + 0.9 * rows["internvl"])
    wanted = {
        "text": unit(0.9 * displaced + 0.1 * clap_part),
        "image": displaced,
        "audio": unit(0.5 * psi_u + 0.5 * clap_part),
    }
    for modality, embeddings in wanted.items():
        found = product.fuse(modality, {s: rows[s] for s in product.spaces_of(modality)})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, embeddings, atol=1e-5)


# Several experts


def test_the_expert_part_is_the_mean_of_all_members_of_all_experts():
    fused = experts(named("e", SAME), named("f", SWAP), audio=0.0)
    assert (fused.spaces, fused.shared) == (("u", "e", "f"), ("text", "audio"))
    close(fused.fuse("text", {"u": Y, "e": X, "f": X}), (X + Y) / np.sqrt(2))


def test_members_have_equal_shares_before_any_expert_is_normalised():
    """e's two members disagree, so their mean is short: 0.5 (X + Y) against f's X."""
    fused = experts(named("e", SAME, SWAP), named("f", SAME), audio=0.0)
    found = fused.fuse("text", {"u": Y, "e": X, "f": X})
    close(found, (1.5 * X + 0.5 * Y) / np.sqrt(2.5))


def test_an_expert_that_lacks_a_modality_takes_no_part_in_it():
    f = named("f", SWAP, shared=("text", "image"))
    fused = experts(named("e", SAME), f, audio=1.0, image=1.0)
    close(fused.fuse("audio", {"u": Y, "e": X}), X)
    close(fused.fuse("image", {"u": Y, "f": Y}), X)


# Items that an expert lacks


@pytest.mark.parametrize(("kind", "fused"), [("combination", X), ("displacement", Y)])
@pytest.mark.parametrize("normalise", [True, False])
def test_items_that_the_expert_lacks_are_fused_from_the_unified_part_alone(kind, fused, normalise):
    close(space(kind, normalise=normalise).fuse("text", {"u": 3 * X}), fused)


def test_items_that_one_expert_lacks_are_fused_from_the_others():
    both = experts(named("e", SAME), named("f", SWAP), audio=0.5)
    close(both.fuse("audio", {"u": X, "f": X}), (X + Y) / np.sqrt(2))
    close(both.fuse("audio", {"u": X, "e": X}), X)
    close(both.fuse("audio", {"u": X}), X)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_a_direct_sum_fills_in_items_as_a_modality_that_the_expert_lacks(factor):
    """f's projector swaps; f lacks all texts, and this audio."""
    f = named("f", SWAP, kind="direct_sum", shared=("audio",))
    at = dict.fromkeys(MODALITIES, factor)
    fused = FusedSpace.of(named("e", SAME, kind="direct_sum"), f, at=at, fill=0.2)
    text, audio = (fused.fuse(m, {"u": X, "e": Y}) for m in ("text", "audio"))
    np.testing.assert_array_equal(text, audio)
    norms = 1 - factor * (1 + 0.2) / 2, factor / 2, factor * 0.2 / 2
    close(audio, np.hstack([np.sqrt(n) * x for n, x in zip(norms, (X, Y, Y), strict=True)]))
    np.testing.assert_array_equal(fused.fuse("audio", {"u": X}), fused.fuse("image", {"u": X}))


def test_a_cut_fills_in_before_it_cuts(two):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(160, 9)))[0].astype(np.float32)
    rows = native_rows(two, "text")
    rows.pop("clap_music")
    wanted = unit(two.fuse("text", rows) @ basis)
    np.testing.assert_allclose(with_basis(two, basis).fuse("text", rows), wanted, atol=1e-6)


def test_every_stage_takes_the_spaces_that_are_there(product):
    rows = native_rows(product, "text")
    unified = {"imagebind": rows["imagebind"]}
    base = product.base.fuse("text", unified)
    np.testing.assert_array_equal(product.fuse("text", unified), base)
    rows.pop("internvl")
    parts = product.parts("text", rows)
    np.testing.assert_array_equal(parts.unified, base)
    assert (parts.lacking, parts.expert is None) == ((), False)
    rows.pop("clap_music")
    assert product.parts("text", rows).lacking == ("clap_music",)


# Factors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "side"), [(0.0, "unified"), (1.0, "expert")])
def test_a_factor_of_0_or_1_is_one_side_alone(make_bond, test_banks, kind, factor, side):
    at = {"text": factor, "audio": factor}
    fused = FusedSpace.of(make_bond(kind), at=at, normalise=False)
    parts = parts_of(fused, test_banks)
    for modality in ("text", "audio"):
        rows = getattr(parts[modality], side)
        np.testing.assert_array_equal(fused.mix(modality, parts[modality]), rows)


@pytest.mark.parametrize(("kind", "side"), [("combination", 0), ("displacement", 1)])
def test_the_side_that_is_not_projected_stays_as_it_is(make_bond, test_banks, kind, side):
    fused = FusedSpace.of(make_bond(kind), at="versatile")
    own = test_banks[("imagebind", "clap_general")[side], "audio"][:]
    np.testing.assert_allclose(parts_of(fused, test_banks)["audio"][side], own, rtol=1e-6)


angles = st.floats(0.1, 3).map(lambda angle: np.array([[np.cos(angle), np.sin(angle)]], np.float32))


@settings(deadline=None, max_examples=30)
@given(unified=angles, expert=angles, factor=st.floats(0, 1))
def test_a_fused_row_is_a_unit_row_between_both_sides(unified, expert, factor):
    fused = space(text=factor).mix("text", Parts(unified, expert))
    assert np.linalg.norm(fused) == pytest.approx(1, abs=1e-6)
    assert (fused * unified).sum() >= (expert * unified).sum() - 1e-5
    assert (fused * expert).sum() >= (expert * unified).sum() - 1e-5


# Direct sums: what is filled in


def test_experts_share_the_expert_part_equally_and_a_filled_in_part_has_a_small_share():
    f = named("f", SWAP, kind="direct_sum", shared=("text", "image"))
    fused = FusedSpace.of(named("e", SAME, kind="direct_sum"), f)
    native = fused.parts("text", {"u": X, "e": X, "f": Y})
    np.testing.assert_allclose(native.expert, np.hstack([X, Y]) * np.sqrt(0.5))
    filled = fused.parts("audio", {"u": X, "e": X})  # f's part is the projection of u's X: Y
    wanted = np.hstack([X, np.sqrt(FILL) * Y]) / np.sqrt(1 + FILL)
    np.testing.assert_allclose(filled.expert, wanted, atol=1e-6)


@pytest.mark.parametrize("fill", [1e-6, 0.4, 1.0])
def test_a_filled_in_part_has_the_weight_that_is_asked_for(make_bond, fill):
    fused = FusedSpace.of(make_bond("direct_sum"), fill=fill).with_factors(image=0.5)
    rows = native_rows(fused, "image")
    filled = fused.last.bonds[0].project(rows["imagebind"])
    found = fused.fuse("image", rows)[:, 64:]
    np.testing.assert_allclose(found, np.sqrt(0.5 * fill) * filled, atol=1e-6)


@pytest.mark.parametrize("fill", [0.0, 9e-7, 1.1, float("nan")])
def test_a_filled_in_part_has_some_weight_and_at_most_that_of_an_embedding(make_bond, fill):
    with pytest.raises(FreeBindError, match="fill is out of range"):
        FusedSpace.of(make_bond("direct_sum"), fill=fill)


# Direct sums: scores


def scores(fused, text, audio):
    return fused.fuse("text", text) @ fused.fuse("audio", audio).T


@pytest.mark.parametrize(
    ("factors", "weights"),
    [
        ((0.0, 0.0), (1, 0)),
        ((0.3, 0.3), (0.7, 0.3)),
        ((1.0, 1.0), (0, 1)),
        ((0.2, 0.7), (np.sqrt(0.8 * 0.3), np.sqrt(0.2 * 0.7))),
    ],
)
def test_a_score_is_the_weighted_sum_of_the_spaces_scores(one, factors, weights):
    fused = one.with_factors(text=factors[0], audio=factors[1])
    text, audio = native_rows(one, "text"), native_rows(one, "audio")
    wanted = sum(w * text[s] @ audio[s].T for w, s in zip(weights, one.spaces, strict=True))
    np.testing.assert_allclose(scores(fused, text, audio), wanted, atol=1e-6)


def test_at_equal_weights_shared_modalities_have_the_mean_of_all_scores(two):
    text, audio = native_rows(two, "text"), native_rows(two, "audio")
    mean = np.mean([text[s] @ audio[s].T for s in two.spaces], axis=0)
    np.testing.assert_allclose(scores(two.at("equal"), text, audio), mean, atol=1e-6)


def test_rows_are_unit_rows_of_all_dimensions(two):
    assert two.dim == 64 + 48 + 48
    for modality in MODALITIES:
        found = two.fuse(modality, native_rows(two, modality))
        assert found.shape == (4, 160)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_unified_space_of_a_direct_sum_may_be_a_product(product):
    clap = ("clap_general", 48)
    bond = random_bond("direct_sum", ("internvl_ib", 56), clap, ("text", "audio"))
    fused = FusedSpace.of(bond, base=product.base, at=dict.fromkeys(MODALITIES, 0.5))
    rows = native_rows(fused, "text")
    base = product.base.fuse("text", {s: rows[s] for s in product.base.spaces})
    wanted = np.hstack([base, rows["clap_general"]]) / np.sqrt(2)
    np.testing.assert_allclose(fused.fuse("text", rows), wanted, atol=1e-6)


# Which bonds go into which sum


@pytest.mark.parametrize(
    ("stage", "kind"), [(DirectSum, "combination"), (WeightedSum, "direct_sum")]
)
def test_a_sum_of_the_other_kind_of_bond_is_refused(stage, kind):
    bond = linear_bond(kind, SAME)
    with pytest.raises(FreeBindError, match=rf"need different stages\n.*direct_sum\n.*{kind}"):
        stage((bond,), dict.fromkeys(bond.weighted, 0.5))
