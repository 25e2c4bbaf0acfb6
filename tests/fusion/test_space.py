from dataclasses import replace
from operator import itemgetter

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.errors import FreeBindError
from fb_jax.fusion import PRESETS, FusedSpace, Parts, fusable, presets_for
from fb_jax.projector import Bond, Projector, Variables

KINDS = ["combination", "displacement"]
SAME, SWAP = np.eye(2), np.eye(2)[::-1]
X, Y = np.eye(2, dtype=np.float32)[:, None]  # two embeddings of one item, [1, 2] each


def linear_bond(kind, *maps: np.ndarray) -> Bond:
    """A bond whose members are psi_i(x) = unit(x @ maps[i]): relu(x) - relu(-x) does not bend."""
    members, dim_in, dim_out = np.shape(maps)
    fill = lambda value, dim: np.full((members, dim), value, np.float32)  # noqa: E731
    kernel_in = np.tile(np.hstack([np.eye(dim_in), -np.eye(dim_in)]), (members, 1, 1))
    kernel_out = np.concatenate([maps, np.negative(maps)], axis=1)
    dims = {"norm_in": 2 * dim_in, "norm_out": dim_out}
    spec = BondSpec(
        kind=kind,
        unified="u",
        expert="e",
        modalities=("text", "image", "audio"),
        shared=("text", "audio"),
        members=(("text",),) * members,
        dim_in=dim_in,
        dim_out=dim_out,
        hidden=2 * dim_in,
    )
    variables = Variables(
        {
            "linear_in": {"kernel": kernel_in.astype(np.float32)},
            "linear_out": {"kernel": kernel_out.astype(np.float32)},
            **{name: {"scale": fill(1, d), "shift": fill(0, d)} for name, d in dims.items()},
        },
        {name: {"mean": fill(0, d), "var": fill(1 - 1e-5, d)} for name, d in dims.items()},
    )
    return Bond(spec, variables)


def changed(bond: Bond, **fields) -> Bond:
    """A bond with other fields in its description."""
    return Bond(replace(bond.spec, **fields), bond.variables)


def space(kind="combination", *maps, text=0.25, audio=0.5, normalise=True) -> FusedSpace:
    bond = linear_bond(kind, *(maps or (SWAP,)))
    return FusedSpace((bond,), {"text": text, "audio": audio}, normalise)


def both(unified, expert=None):
    return {"u": unified} if expert is None else {"u": unified, "e": expert}


def close(found, wanted):
    np.testing.assert_allclose(found, np.atleast_2d(wanted), atol=2e-6)


# Eq. 3, 9, 10 by hand: the unified space says X, the expert says X, the projector swaps X and Y


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
    close(space(kind, normalise=normalise).fuse("text", both(X, X)), fused)


def test_every_modality_has_its_own_factor():
    close(space(normalise=False).fuse("audio", both(X, X)), 0.5 * X + 0.5 * Y)


@pytest.mark.parametrize(("kind", "fused"), [("combination", X), ("displacement", Y)])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_modality_that_the_expert_lacks_is_the_unified_one(kind, fused, normalise):
    close(space(kind, normalise=normalise).fuse("image", both(X)), fused)


@pytest.mark.parametrize("maps", [(SAME, SWAP), (9 * SAME, SWAP)], ids=["equal", "of unequal norm"])
def test_the_mixture_is_the_mean_of_the_unit_outputs_of_its_members(maps):
    close(space("combination", *maps, text=1.0).fuse("text", both(X, X)), (X + Y) / np.sqrt(2))


def test_sources_may_have_any_norm():
    close(space().fuse("text", both(9 * X, 0.1 * X)), space().fuse("text", both(X, X)))


def test_a_fused_space_has_the_dimension_of_the_target():
    wide = np.array([[0, 1, 0], [1, 0, 0]])  # from 2 to 3 dimensions
    fused = space("displacement", wide, text=0.5, normalise=False)
    assert fused.dim == 3
    close(fused.fuse("text", both(X, np.array([[0, 0, 1]], np.float32))), [0, 0.5, 0.5])


# The same against a twin in float64


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def psi(x, params, stats):
    for place in ("in", "out"):
        norm, running = params[f"norm_{place}"], stats[f"norm_{place}"]
        x = x @ params[f"linear_{place}"]["kernel"] - running["mean"]
        x = x / np.sqrt(running["var"] + 1e-5) * norm["scale"] + norm["shift"]
        x = np.maximum(x, 0) if place == "in" else unit(x)
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
    fused = FusedSpace((bond,), factors)
    rows = {key: np.float64(bank[:]) for key, bank in test_banks.banks.items()}
    wanted = twin(
        bond,
        factors,
        unified={m: unit(rows["imagebind", m]) for m in ("text", "image", "audio")},
        expert={m: unit(rows["clap_general", m]) for m in ("text", "audio")},
    )
    found = {m: fused.mix(m, parts) for m, parts in fused.parts_of(test_banks).items()}
    assert found.keys() == wanted.keys()
    for modality, embeddings in wanted.items():
        np.testing.assert_allclose(found[modality], embeddings, atol=1e-5)


# Several experts


def named(expert, *maps):
    return replace(linear_bond("combination", *maps), expert=expert)


def test_the_expert_part_is_the_mean_of_all_members_of_all_experts():
    fused = FusedSpace((named("e", SAME), named("f", SWAP)), {"text": 1.0, "audio": 0.0})
    assert (fused.spaces, fused.shared) == (("u", "e", "f"), ("text", "audio"))
    close(fused.fuse("text", {"u": Y, "e": X, "f": X}), (X + Y) / np.sqrt(2))


def test_members_weigh_alike_before_any_expert_is_normalised():
    """e's two members disagree, so their mean is short: 0.5 (X + Y) against f's X."""
    fused = FusedSpace((named("e", SAME, SWAP), named("f", SAME)), {"text": 1.0, "audio": 0.0})
    found = fused.fuse("text", {"u": Y, "e": X, "f": X})
    close(found, (1.5 * X + 0.5 * Y) / np.sqrt(2.5))


def test_an_expert_that_lacks_a_modality_takes_no_part_in_it():
    fused = FusedSpace(
        (named("e", SAME), replace(named("f", SWAP), shared=("text", "image"))),
        {"text": 1.0, "audio": 1.0, "image": 1.0},
    )
    close(fused.fuse("audio", {"u": Y, "e": X}), X)
    close(fused.fuse("image", {"u": Y, "f": Y}), X)


@pytest.mark.parametrize(
    ("bonds", "says"),
    [
        ((), "needs a bond"),
        ((linear_bond("displacement", SAME), named("f", SAME)), "displacement of e and u"),
        ((named("e", SAME), replace(named("f", SAME), unified="v")), "combination of f and v"),
        ((named("e", SAME), named("f", np.ones((2, 3)))), "do not go into one space"),
        ((named("e", SAME), named("e", SWAP)), "fused with itself"),
        ((named("u", SAME),), "fused with itself"),
    ],
)
def test_bonds_that_do_not_go_into_one_space_are_refused(bonds, says):
    with pytest.raises(FreeBindError, match=says):
        FusedSpace(bonds, {"text": 0.5, "audio": 0.5})


# Factors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "side"), [(0.0, "unified"), (1.0, "expert")])
def test_a_factor_of_0_or_1_is_one_side_alone(make_bond, test_banks, kind, factor, side):
    fused = FusedSpace((make_bond(kind),), {"text": factor, "audio": factor}, normalise=False)
    parts = fused.parts_of(test_banks)
    for modality in ("text", "audio"):
        rows = getattr(parts[modality], side)
        np.testing.assert_array_equal(fused.mix(modality, parts[modality]), rows)


@pytest.mark.parametrize(("kind", "side"), [("combination", 0), ("displacement", 1)])
def test_the_side_that_is_not_projected_stays_as_it_is(make_bond, test_banks, kind, side):
    fused = FusedSpace.preset("versatile", make_bond(kind))
    own = test_banks[("imagebind", "clap_general")[side], "audio"][:]
    np.testing.assert_allclose(fused.parts_of(test_banks)["audio"][side], own, rtol=1e-6)


angles = st.floats(0.1, 3).map(lambda angle: np.array([[np.cos(angle), np.sin(angle)]], np.float32))


@settings(deadline=None, max_examples=30)
@given(unified=angles, expert=angles, factor=st.floats(0, 1))
def test_a_fused_row_is_a_unit_row_between_both_sides(unified, expert, factor):
    fused = space(text=factor).mix("text", Parts(unified, expert))
    assert np.linalg.norm(fused) == pytest.approx(1, abs=1e-6)
    assert (fused * unified).sum() >= (expert * unified).sum() - 1e-5
    assert (fused * expert).sum() >= (expert * unified).sum() - 1e-5


def test_other_factors_make_another_space_and_leave_this_one():
    first = space(text=0.25, audio=0.5)
    second = first.with_factors(text=1.0)
    assert (first.factors, second.factors) == (
        {"text": 0.25, "audio": 0.5},
        {"text": 1.0, "audio": 0.5},
    )


@pytest.mark.parametrize("name", ["image", "video"])
def test_a_factor_for_a_modality_that_the_expert_lacks_is_refused(name):
    with pytest.raises(FreeBindError, match=rf"no factor of e for '{name}'(.|\n)*audio, text"):
        space().with_factors(**{name: 0.5})
    with pytest.raises(FreeBindError, match=f"no factor of e for '{name}'"):
        FusedSpace((linear_bond("combination", SAME),), {"text": 0.5, "audio": 0.5, name: 0.5})


@pytest.mark.parametrize("factor", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_factor_outside_0_to_1_is_refused(factor):
    with pytest.raises(FreeBindError, match=r"a factor is a weight\n.*audio\n.*0 to 1\n"):
        space().with_factors(audio=factor)


def test_a_factor_for_every_modality_of_the_expert_is_needed():
    with pytest.raises(FreeBindError, match=r"a factor is missing\n.*audio"):
        FusedSpace((linear_bond("combination", SAME),), {"text": 0.5})


# Presets


def test_the_presets_are_the_papers():
    assert PRESETS == {
        "versatile": {"audio": 0.5, "text": 0.1},
        "at_expertise": {"audio": 0.8, "text": 0.5},
        "it_expertise": {"image": 0.9, "text": 0.9},
    }


@pytest.mark.parametrize(
    ("shared", "names"),
    [
        (("text", "audio"), ["versatile", "at_expertise"]),
        (("text", "image"), ["it_expertise"]),
        (("image", "audio"), ["halfway"]),
        (("text", "depth"), ["halfway"]),
        (("text", "image", "audio"), ["halfway"]),
    ],
)
def test_an_expert_has_the_presets_of_its_modalities(shared, names):
    bond = replace(linear_bond("combination", SAME), shared=shared)
    assert list(presets_for(FusedSpace.halfway(bond))) == names


@pytest.mark.parametrize("kind", KINDS)
def test_a_preset_sets_all_factors(kind):
    fused = FusedSpace.preset("at_expertise", linear_bond(kind, SAME))
    assert (fused.factors, fused.normalise) == ({"audio": 0.8, "text": 0.5}, True)


def test_halfway_sets_every_factor_to_a_half():
    bond = replace(linear_bond("combination", SAME), shared=("text", "depth"))
    assert FusedSpace.preset("halfway", bond).factors == {"text": 0.5, "depth": 0.5}


@pytest.mark.parametrize(
    ("name", "says"), [("versatil", "did you mean 'versatile'"), ("it_expertise", "at_expertise")]
)
def test_a_preset_that_this_expert_has_not_is_refused_with_those_it_has(name, says):
    with pytest.raises(FreeBindError, match=rf"no preset '{name}'\n.*u \+ e(.|\n)*{says}"):
        FusedSpace.preset(name, linear_bond("combination", SAME))


# From banks


@pytest.mark.parametrize(
    ("spaces", "modalities"),
    [
        ({"imagebind": ["text", "image"], "clap_general": ["text"]}, ("text", "image")),
        ({"imagebind": ["text", "image"], "clap_general": ["audio"]}, ("image",)),
        ({"imagebind": ["audio"], "clap_general": ["audio", "text"]}, ("audio",)),
    ],
)
def test_what_can_be_fused_are_modalities_of_which_all_sides_are_here(
    make_bond, test_banks, spaces, modalities
):
    keys = [(space, modality) for space, found in spaces.items() for modality in found]
    some = type(test_banks)(test_banks.split, {key: test_banks[key] for key in keys}, {})
    assert fusable([make_bond("combination")], some) == modalities


@pytest.mark.parametrize(
    ("modality", "expert", "says"),
    [
        ("text", None, "every space that has it\n.*u, e\n.*u$"),  # forgotten
        ("image", X, "every space that has it\n.*u\n.*u, e$"),  # it has none
        ("txet", X, "no modality 'txet'(.|\n)*did you mean 'text'"),
        ("text", np.ones((1, 3), np.float32), r"of e (.|\n)*\[1, 2\]\n.*got: +\[1, 3\]"),
        ("text", np.ones((2, 2), np.float32), r"of e (.|\n)*\[1, 2\]\n.*got: +\[2, 2\]"),
    ],
)
def test_embeddings_that_cannot_be_fused_are_refused(modality, expert, says):
    with pytest.raises(FreeBindError, match=says):
        space().fuse(modality, both(X, expert))


# A product as the unified space of a next stage


def displaced(**at) -> FusedSpace:
    """u, displaced into d by the identity: text and image."""
    bond = replace(linear_bond("displacement", SAME), expert="d", shared=("text", "image"))
    return FusedSpace((bond,), {"text": 0.5, "image": 0.5}, **at)


def second(base, *bonds, **at) -> FusedSpace:
    stage = bonds or (linear_bond("combination", SWAP),)
    bonds = tuple(replace(bond, unified=base.name or "d_u") for bond in stage)
    factors = {m: 0.5 for bond in bonds for m in bond.shared}
    return FusedSpace(bonds, factors, base=base, **at)


def test_a_product_is_fused_from_native_rows_its_base_first():
    fused = second(displaced())
    assert fused.spaces == ("u", "d", "e")
    assert (fused.unified, fused.experts) == ("d_u", ("e",))
    found = fused.fuse("text", {"u": X, "d": Y, "e": X})  # unit(unit(X + Y) + swapped X)
    close(found, [0.5**0.5, 0.5**0.5 + 1] / np.linalg.norm([0.5**0.5, 0.5**0.5 + 1]))
    close(fused.fuse("image", {"u": X, "d": Y}), (X + Y) / np.sqrt(2))
    close(fused.fuse("audio", {"u": X, "e": X}), (X + Y) / np.sqrt(2))


def test_bare_equations_hold_through_both_stages():
    """(1 - st) ((1 - lt) X + lt Y) + st Y, with every factor 0.5: no norm in between [P]."""
    fused = second(displaced(normalise=False), normalise=False)
    close(fused.fuse("text", {"u": X, "d": Y, "e": X}), 0.25 * X + 0.75 * Y)


def test_a_base_that_is_projected_is_unit_first():
    stage = replace(linear_bond("displacement", SWAP), shared=("text", "image"))
    fused = second(displaced(normalise=False), stage, normalise=False).with_factors(text=0.0)
    close(fused.fuse("text", {"u": X, "d": Y, "e": X}), (X + Y) / np.sqrt(2))


def test_a_space_may_take_part_in_both_stages():
    sequential = FusedSpace((linear_bond("displacement", SAME),), {"text": 0.5, "audio": 0.5})
    fused = second(sequential, linear_bond("combination", SAME))
    assert fused.spaces == fused.spaces_of("text") == ("u", "e")
    close(fused.fuse("text", {"u": X, "e": X}), X)


def test_a_third_stage_builds_on_the_second():
    fused = second(second(displaced()), named("f", SAME))
    assert fused.spaces == ("u", "d", "e", "f")
    assert [stage.experts for stage in fused.stages] == [("d",), ("e",), ("f",)]
    close(fused.fuse("image", {"u": X, "d": X}), X)


def test_a_product_equals_its_float64_twin(product):
    """Eq. 3, then Eq. 9 and 10, a unit vector after every sum [C]; 14 members weigh alike."""
    rng = np.random.default_rng(3)
    rows = {space: unit(rng.normal(size=(9, dim))) for space, dim in product.dims.items()}
    base, claps = product.base.bonds[0], product.bonds
    psi_u = mixture(rows["imagebind"], base.variables)
    outputs = [members_of(rows[bond.expert], bond.variables) for bond in claps]
    clap_part = unit(np.concatenate(outputs).mean(axis=0))
    tuned = unit(0.1 * psi_u + 0.9 * rows["internvl"])
    wanted = {
        "text": unit(0.9 * tuned + 0.1 * clap_part),
        "image": tuned,
        "audio": unit(0.5 * psi_u + 0.5 * clap_part),
    }
    for modality, embeddings in wanted.items():
        native = {space: rows[space] for space in product.spaces_of(modality)}
        found = product.fuse(modality, native)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, embeddings, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unified": "v"}, r"expected: +v, 2 .*\n.*got: +b, 2 dim"),
        ({"modalities": ("text", "video")}, "expected: +b, 2 dimensions, text, video"),
    ],
)
def test_a_base_that_the_bonds_were_not_trained_on_is_refused(change, says):
    bond = replace(linear_bond("combination", SWAP), shared=("text",), **{"unified": "b", **change})
    with pytest.raises(FreeBindError, match=rf"the base is not the unified space(.|\n)*{says}"):
        FusedSpace((bond,), {"text": 0.5}, base=displaced(name="b"))


def test_a_base_of_another_dimension_is_refused(product):
    bond = linear_bond("combination", SWAP)
    with pytest.raises(FreeBindError, match="the base is not the unified space"):
        FusedSpace((bond,), {"text": 0.5, "audio": 0.5}, base=product)


def test_two_spaces_of_one_name_are_refused(product):
    wide = linear_bond("combination", np.ones((3, 56)))
    stage = replace(wide, unified="internvl_ib_pp", expert="internvl", shared=("text",))
    with pytest.raises(
        FreeBindError, match=r"another space of this name\n.*internvl\n.*3 .*\n.*56"
    ):
        FusedSpace((stage,), {"text": 0.5}, base=product)


# Which experts, which factors


def test_some_of_the_experts_make_a_space_of_their_own():
    both_experts = FusedSpace(
        (named("e", SAME), replace(named("f", SWAP), shared=("text", "image"))),
        {"text": 1.0, "audio": 0.25, "image": 0.75},
    )
    alone = both_experts.with_experts(["f"])
    assert (alone.experts, alone.factors) == (("f",), {"text": 1.0, "image": 0.75})
    close(alone.fuse("text", {"u": Y, "f": X}), Y)
    assert both_experts.experts == ("e", "f")


def test_a_product_keeps_its_base_with_some_of_its_experts(product):
    alone = product.with_experts("clap_general")
    assert alone.spaces == ("imagebind", "internvl", "clap_general")
    assert (alone.name, alone.title) == ("", "internvl_ib+clap_general")


@pytest.mark.parametrize(
    ("experts", "says"), [(["clap_genral"], "mean 'clap_general'"), ([], "needs a bond")]
)
def test_experts_that_are_not_there_are_refused(product, experts, says):
    with pytest.raises(FreeBindError, match=says):
        product.with_experts(experts)


def test_a_space_can_have_presets_of_its_own():
    mine = replace(space(), presets={"mine": {"text": 0.3, "audio": 0.7}, "no": {"image": 1.0}})
    assert mine.at("mine").factors == {"text": 0.3, "audio": 0.7}
    for other in ("no", "versatile"):
        with pytest.raises(FreeBindError, match=rf"no preset '{other}'\n.*u \+ e\n.*one of: mine$"):
            mine.at(other)


# What rows may be


def test_rows_may_be_torch_or_jax_arrays():
    tensor = torch.tensor(np.array(X), requires_grad=True)
    wanted = space().fuse("text", both(X, Y))
    for rows in (tensor, tensor.bfloat16(), jax.numpy.asarray(X), X.tolist()):
        found = space().fuse("text", both(rows, Y))
        assert isinstance(found, np.ndarray)
        close(found, wanted)


# Modalities that are given: rows of an encoder that was tuned into the space


@pytest.fixture
def tuned(product):
    """internvl_ib with its audio given by imagebind_tuned."""
    return replace(product.base, name="internvl_ib_tuned", given={"audio": "imagebind_tuned"})


def rows_of(fused, modality, count=3):
    rng = np.random.default_rng(0)
    return {s: rng.normal(size=(count, fused.dims[s])) for s in fused.spaces_of(modality)}


def test_a_given_modality_is_the_rows_of_its_space_and_the_others_stay(product, tuned):
    assert tuned.spaces == ("imagebind", "internvl", "imagebind_tuned")
    assert tuned.spaces_of("audio") == ("imagebind_tuned",)
    assert tuned.modalities_of("imagebind_tuned") == ("audio",)
    audio = rows_of(tuned, "audio")["imagebind_tuned"]
    unit = audio / np.linalg.norm(audio, axis=1, keepdims=True)
    np.testing.assert_allclose(tuned.fuse("audio", {"imagebind_tuned": audio}), unit, rtol=1e-5)
    for modality in ("text", "image"):
        rows = rows_of(tuned, modality)
        found, before = (space.fuse(modality, rows) for space in (tuned, product.base))
        np.testing.assert_array_equal(found, before)


def test_a_next_stage_takes_the_given_rows(product, tuned):
    bonds = tuple(replace(bond, unified="internvl_ib_tuned") for bond in product.bonds)
    fused = FusedSpace(bonds, product.factors, base=tuned)
    rows = rows_of(fused, "audio")
    assert set(rows) == {"imagebind_tuned", "clap_music", "clap_general"}
    parts = fused.parts("audio", rows)
    np.testing.assert_array_equal(
        parts.unified, tuned.fuse("audio", {"imagebind_tuned": rows["imagebind_tuned"]})
    )
    assert parts.expert is not None


@pytest.mark.parametrize(
    ("given_rows", "says"),
    [
        ({"depth": "tuned"}, "there is no modality 'depth'"),
        ({"image": "tuned"}, "rows that are given cannot be fused"),
        ({"audio": "internvl"}, "rows that are given cannot be fused"),
    ],
)
def test_what_cannot_be_given_is_refused(product, given_rows, says):
    with pytest.raises(FreeBindError, match=says):
        replace(product.base, given=given_rows)


def test_a_space_with_given_rows_comes_back_from_disk(tuned, tmp_path):
    tuned.save(tmp_path / "kept")
    loaded = FusedSpace.load(tmp_path / "kept")
    assert loaded.given == {"audio": "imagebind_tuned"}
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "- audio of internvl_ib_tuned is imagebind_tuned as it comes" in card
