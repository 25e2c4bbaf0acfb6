from dataclasses import replace

import jax
import numpy as np
import pytest
import torch
from made import changed, linear_bond, native_rows, planned

from fb_jax.banks import unit_rows
from fb_jax.banks.directions import LEAST_NORM
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, fusable, with_basis

SAME, SWAP = np.eye(2), np.eye(2)[::-1]
X, Y = np.eye(2, dtype=np.float32)[:, None]  # two embeddings of one item, [1, 2] each


def space() -> FusedSpace:
    return FusedSpace.of(linear_bond("combination", SWAP), at={"text": 0.25, "audio": 0.5})


def named(expert, *maps, **fields):
    return changed(linear_bond("combination", *maps), expert=expert, **fields)


def close(found, wanted):
    np.testing.assert_allclose(found, np.atleast_2d(wanted), atol=2e-6)


# Rows


@pytest.mark.parametrize(("u", "e"), [(1000, -1060), (-900, 1020), (-1, 3)])
def test_sources_may_have_any_norm(u, e):
    rows = {"u": np.float64([[1, 2]]), "e": np.float64([[3, -5]])}
    wanted = space().fuse("text", rows)
    close(wanted, unit_rows(0.75 * unit_rows(rows["u"]) + 0.25 * unit_rows(rows["e"][:, ::-1])))
    found = space().fuse("text", {"u": rows["u"] * 2.0**u, "e": torch.tensor(rows["e"] * 2.0**e)})
    np.testing.assert_array_equal(found, wanted)


def test_rows_may_be_torch_or_jax_arrays():
    tensor = torch.tensor(np.array(X), requires_grad=True)
    wanted = space().fuse("text", {"u": X, "e": Y})
    for rows in (tensor, tensor.bfloat16(), jax.numpy.asarray(X), X.tolist()):
        found = space().fuse("text", {"u": rows, "e": Y})
        assert isinstance(found, np.ndarray)
        close(found, wanted)


@pytest.mark.parametrize(
    ("modality", "expert", "says"),
    [
        ("image", X, "image cannot be fused from .* these spaces\n.*: u\n.*u, e$"),  # it has none
        ("txet", X, "no modality 'txet'(.|\n)*did you mean 'text'"),
        ("text", np.ones((1, 3), np.float32), r"rows of e have(.|\n)*\[n, 2\](.|\n)*e \[1, 3\]"),
        ("text", np.ones((2, 2), np.float32), r"the same n(.|\n)*got: +u \[1, 2\], e \[2, 2\]"),
    ],
)
def test_embeddings_that_cannot_be_fused_are_refused(modality, expert, says):
    with pytest.raises(FreeBindError, match=says):
        space().fuse(modality, {"u": X, "e": expert})


def test_embeddings_of_the_unified_space_are_needed():
    with pytest.raises(FreeBindError, match=r"expected: +u, and those that there are of e\n.*e$"):
        space().fuse("text", {"e": X})


def test_precision_belongs_to_the_computation_and_reaches_every_bond(product, one):
    bonds = {bond.expert: bond for stage in product.stages for bond in stage.bonds}
    rows = native_rows(product, "audio")
    half = product.parts("audio", rows, "bf16")
    unified = bonds.pop("internvl").project(rows["imagebind"], "bf16")
    outputs = [
        bond.to_target("expert", "audio", rows[name], "bf16") for name, bond in bonds.items()
    ]
    np.testing.assert_array_equal(half.unified, unified)
    np.testing.assert_array_equal(half.expert, unit_rows(np.mean(outputs, axis=0)))
    for fused, modality in ((product, "audio"), (product, "image"), (one, "image")):
        rows = native_rows(fused, modality)
        full, half = fused.fuse(modality, rows), fused.fuse(modality, rows, precision="bf16")
        assert 1e-5 < np.abs(full - half).max() < 1e-1
    with pytest.raises(FreeBindError, match="tf32 needs a GPU"):
        product.fuse("image", native_rows(product, "image"), "tf32")


def test_double_precision_may_be_enabled_around_it(product, one):
    for fused in (product, one):
        rows = native_rows(fused, "text")
        wanted = fused.fuse("text", rows)
        with jax.enable_x64(True):
            found = fused.fuse("text", rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-6)


# A product as the unified space of a next stage


def displaced(**options) -> FusedSpace:
    """u, displaced into d by the identity: text and image."""
    bond = changed(linear_bond("displacement", SAME), expert="d", shared=("text", "image"))
    return FusedSpace.of(bond, at={"text": 0.5, "image": 0.5}, **options)


def second(base, *bonds, **options) -> FusedSpace:
    stage = bonds or (linear_bond("combination", SWAP),)
    bonds = tuple(changed(bond, unified=base.name or "d_u") for bond in stage)
    factors = {m: 0.5 for bond in bonds for m in bond.shared}
    return FusedSpace.of(*bonds, at=factors, base=base, **options)


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
    stage = changed(linear_bond("displacement", SWAP), shared=("text", "image"))
    fused = second(displaced(normalise=False), stage, normalise=False).with_factors(text=0.0)
    close(fused.fuse("text", {"u": X, "d": Y, "e": X}), (X + Y) / np.sqrt(2))


def test_a_space_may_take_part_in_both_stages():
    first = FusedSpace.of(linear_bond("displacement", SAME), at={"text": 0.5, "audio": 0.5})
    fused = second(first, linear_bond("combination", SAME))
    assert fused.spaces == fused.spaces_of("text") == ("u", "e")
    close(fused.fuse("text", {"u": X, "e": X}), X)


def test_a_third_stage_builds_on_the_second():
    fused = second(second(displaced()), named("f", SAME))
    assert fused.spaces == ("u", "d", "e", "f")
    assert [stage.experts for stage in fused.stages] == [("d",), ("e",), ("f",)]
    assert fused.base.base == displaced()
    assert fused.base.base.base is None
    close(fused.fuse("image", {"u": X, "d": X}), X)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unified": "v"}, r"expected: +v, 2 .*\n.*got: +b, 2 dim"),
        ({"modalities": ("text", "video")}, "expected: +b, 2 dimensions, text, video"),
    ],
)
def test_a_base_that_the_bonds_were_not_trained_on_is_refused(change, says):
    fields = {"shared": ("text",), "unified": "b", **change}
    bond = changed(linear_bond("combination", SWAP), **fields)
    with pytest.raises(FreeBindError, match=rf"the base is not the unified space(.|\n)*{says}"):
        FusedSpace.of(bond, at={"text": 0.5}, base=displaced(name="b"))


def test_a_base_of_another_dimension_is_refused(product):
    with pytest.raises(FreeBindError, match="the base is not the unified space"):
        FusedSpace.of(linear_bond("combination", SWAP), base=product)


def test_two_spaces_of_one_name_are_refused(product):
    fields = {"unified": "internvl_ib_pp", "expert": "internvl", "shared": ("text",)}
    bond = changed(linear_bond("combination", np.ones((3, 56))), **fields)
    with pytest.raises(
        FreeBindError, match=r"another space of this name\n.*internvl\n.*3 .*\n.*56"
    ):
        FusedSpace.of(bond, base=product)


@pytest.mark.parametrize("number", [0, 1])
def test_a_stage_that_does_not_follow_another_is_refused_wherever_it_is(number):
    middle = second(displaced(name="first"), name="second")
    stages = list(second(middle, named("f", SAME), name="third").stages)
    stages.insert(number, stages.pop())
    with pytest.raises(FreeBindError, match="the base is not the unified space"):
        FusedSpace(tuple(stages))


def test_a_space_without_stages_is_refused():
    with pytest.raises(FreeBindError, match="needs a stage"):
        FusedSpace(())


# Which experts, which factors


def test_other_factors_make_another_space_and_leave_this_one(product):
    first = product.with_factors(audio=0.25)
    other = first.with_factors(text=1.0)
    assert first.factors == {"audio": 0.25, "text": 0.1}
    assert other.factors == {"audio": 0.25, "text": 1.0}
    assert other == product.at({"audio": 0.25, "text": 1.0})
    assert other.at("versatile") == product
    assert other.base == product.base


def test_some_of_the_experts_make_a_space_of_their_own():
    both = FusedSpace.of(
        named("e", SAME),
        named("f", SWAP, shared=("text", "image")),
        at={"text": 1.0, "audio": 0.25, "image": 0.75},
    )
    alone = both.with_experts(["f"])
    assert (alone.experts, alone.factors) == (("f",), {"text": 1.0, "image": 0.75})
    close(alone.fuse("text", {"u": Y, "f": X}), Y)
    assert both.experts == ("e", "f")


def test_a_product_keeps_its_base_with_some_of_its_experts(product):
    alone = product.with_experts("clap_general")
    assert alone.spaces == ("imagebind", "internvl", "clap_general")
    assert (alone.name, alone.title) == ("", "internvl_ib+clap_general")
    assert alone.base == product.base


def test_one_expert_of_a_direct_sum_keeps_the_factors_of_every_modality(two):
    alone = two.with_experts("clap_music")
    assert (alone.spaces, alone.dim) == (("imagebind", "clap_music"), 112)
    assert alone.factors == two.factors


@pytest.mark.parametrize(
    ("experts", "says"), [(["clap_genral"], "mean 'clap_general'"), ([], "needs a bond")]
)
def test_experts_that_are_not_there_are_refused(product, experts, says):
    with pytest.raises(FreeBindError, match=says):
        product.with_experts(experts)


# Tuned rows: those of an encoder that was tuned into the space


def test_tuned_rows_are_taken_as_they_are_and_the_other_modalities_stay(product, tuned):
    assert tuned.spaces == ("imagebind", "internvl", "imagebind_tuned")
    assert tuned.spaces_of("audio") == ("imagebind_tuned",)
    assert tuned.modalities_of("imagebind_tuned") == ("audio",)
    rows = native_rows(tuned, "audio")["imagebind_tuned"]
    found = tuned.fuse("audio", {"imagebind_tuned": 3 * rows})  # of any norm
    np.testing.assert_allclose(found, rows, rtol=1e-5)
    for modality in ("text", "image"):
        rows = native_rows(tuned, modality)
        found, before = (space.fuse(modality, rows) for space in (tuned, product.base))
        np.testing.assert_array_equal(found, before)


def test_a_next_stage_takes_the_tuned_rows(product, tuned):
    bonds = (changed(bond, unified="internvl_ib_tuned") for bond in product.last.bonds)
    fused = FusedSpace.of(*bonds, base=tuned)
    rows = native_rows(fused, "audio")
    assert set(rows) == {"imagebind_tuned", "clap_music", "clap_general"}
    parts = fused.parts("audio", rows)
    own = {"imagebind_tuned": rows["imagebind_tuned"]}
    np.testing.assert_array_equal(parts.unified, tuned.fuse("audio", own))
    assert parts.expert is not None


# Planned: described, not trained yet


def test_a_planned_space_answers_all_but_fusing(product, one, test_banks):
    asked = ("dim", "dims", "spaces", "presets", "factors", "modalities", "shared", "weighted")
    for trained in (product, one, with_basis(one, np.eye(112, 9, dtype=np.float32))):
        space = planned(trained)
        assert space != trained
        assert [getattr(space, name) for name in asked] == [getattr(trained, n) for n in asked]
        for modality in space.modalities:
            assert space.spaces_of(modality) == trained.spaces_of(modality)
        assert fusable(space, test_banks) == fusable(trained, test_banks)
        preset = list(space.presets)[-1]
        assert space.at(preset) == planned(trained.at(preset))
        expert = space.experts[-1]
        assert space.with_experts(expert) == planned(trained.with_experts(expert))
        assert hash(space) == hash(trained)  # numbers are not in it
        modality = "audio" if space.base else "image"
        with pytest.raises(FreeBindError, match=r"not trained yet\n.*imagebind\n.*train"):
            space.fuse(modality, native_rows(space, modality))


def test_a_planned_space_is_not_saved(product, tmp_path):
    half = product.with_last(planned(product).last)
    with pytest.raises(FreeBindError, match=r"trained before it is saved\n.*clap_music"):
        half.save(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_a_planned_space_is_trained_by_its_bonds(product):
    last = replace(planned(product).last, bonds=product.last.bonds)
    assert product.with_last(last) == product


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (np.nan, r"u holds NaN or infinite rows\n.*text\n(.|\n)*1 NaN .* the first is row 2\n"),
        (np.inf, r"u holds NaN or infinite rows\n.*text\n(.|\n)*1 NaN .* the first is row 2\n"),
        (0.0, r"u holds zero rows\n.*text\n(.|\n)*1 zero rows, the first is row 2\n"),
        (1j, r"not a matrix of embeddings\n.*text of u\n.*\[n, d\] floats\n.*complex64"),
        (None, r"not a matrix of embeddings\n.*text of u\n.*\[n, d\] floats\n.*object"),
    ],
)
@pytest.mark.parametrize("asked", ["fuse", "parts"])
def test_rows_without_a_direction_are_refused_by_number(asked, row, says):
    rows = np.repeat(X, 4, axis=0)
    bad = rows.astype(object if row is None else np.result_type(rows, np.complex64(row).dtype))
    bad = bad.real if row is not None and not isinstance(row, complex) else bad
    bad[2] = row
    with pytest.raises(FreeBindError, match=says):
        getattr(space(), asked)("text", {"u": bad, "e": rows})


def test_integers_single_rows_and_no_rows():
    rows = {"u": np.ones((0, 2)), "e": np.ones((0, 2))}
    assert space().fuse("text", rows).shape == (0, 2)
    with pytest.raises(FreeBindError, match=r"text of e\n.*\[n, d\] floats\n.*int64"):
        space().fuse("text", {"u": X, "e": torch.ones((1, 2), dtype=torch.int64)})
    with pytest.raises(FreeBindError, match=r"text rows of .* another shape(.|\n)*\[n, \d+\]"):
        space().fuse("text", {"u": X[0], "e": X[0]})


# Parts that cancel out


NORTH = np.float32([[1, 0], [0.6, 0.8], [0, 1]])


@pytest.mark.parametrize("kind", ["combination", "displacement"])
def test_parts_that_cancel_out_are_refused_by_number(kind):
    """At 0.5, u and -u mix to nothing; at other factors to u or -u."""
    fused = FusedSpace.of(linear_bond(kind, SAME), at={"text": 0.5, "audio": 0.5})
    rows = {"u": NORTH, "e": NORTH * [[1], [-1], [-1]]}
    says = r"u\+e, text\n.*0.000977(.|\n)*2 of 3 rows are shorter: row 1, 2\n.*factors"
    with pytest.raises(FreeBindError, match=rf"cancel out(.|\n)*{says}"):
        fused.fuse("text", rows)
    close(fused.with_factors(text=0.25).fuse("text", rows), NORTH)
    close(fused.with_factors(text=0.75).fuse("text", rows), rows["e"])
    bare = FusedSpace.of(*fused.last.bonds, at=fused.factors, normalise=False)
    close(bare.fuse("text", rows), NORTH * [[1], [0], [0]])


@pytest.mark.parametrize(("angle", "refused"), [(0.0019, True), (0.0020, False)])
def test_a_mix_is_refused_below_a_norm_of_2_to_the_minus_10(angle, refused):
    """Unit rows at pi - angle: their mean has the norm sin(angle / 2)."""
    near = np.array([[-np.cos(angle), np.sin(angle)]])
    fused = FusedSpace.of(linear_bond("combination", SAME), at={"text": 0.5, "audio": 0.5})
    assert (np.sin(angle / 2) < LEAST_NORM) == refused
    if refused:
        with pytest.raises(FreeBindError, match="cancel out"):
            fused.fuse("text", {"u": X, "e": near})
    else:
        found = fused.fuse("text", {"u": X, "e": near})
        np.testing.assert_allclose(found, [[angle / 2, 1]], atol=2e-3)


def test_experts_members_and_earlier_stages_may_cancel_out_too():
    both = FusedSpace.of(named("e", SAME), named("f", -SAME), at={"text": 0.5, "audio": 0.5})
    with pytest.raises(FreeBindError, match=r"u\+e\+f, audio(.|\n)*1 of 1"):
        both.fuse("audio", {"u": X, "e": Y, "f": Y})
    close(both.fuse("audio", {"u": X, "e": Y, "f": -Y}), (X + Y) / np.sqrt(2))
    filled = FusedSpace.of(linear_bond("direct_sum", SAME, -SAME))
    with pytest.raises(FreeBindError, match=r"u\+e, image(.|\n)*1 of 1"):
        filled.fuse("image", {"u": X})
    stage = changed(linear_bond("displacement", SWAP), shared=("text", "image"))
    twice = second(displaced(normalise=False), stage)
    with pytest.raises(FreeBindError, match=r"d_u\+e, image(.|\n)*1 of 1"):
        twice.fuse("image", {"u": X, "d": -X, "e": X})


def test_a_row_outside_a_cut_has_no_direction():
    fused = with_basis(FusedSpace.of(linear_bond("direct_sum", SAME)), np.eye(4, 1, dtype="f4"))
    close(fused.fuse("text", {"u": X, "e": Y}), [[1]])
    with pytest.raises(FreeBindError, match=r"u\+e, text(.|\n)*row 0\n.*a cut of more dimensions"):
        fused.fuse("text", {"u": Y, "e": X})
