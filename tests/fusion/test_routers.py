"""Weights by the item in both kinds of stage, on disk, and where an item lacks a space."""

from dataclasses import replace

import numpy as np
import pytest
from made import linear_bond, native_rows, random_bond

from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.fusion import (
    FusedSpace,
    WeightedSum,
    digest,
    sources,
    with_basis,
    write_fused,
)
from fb_jax.fusion.layout import stage_json
from fb_jax.projector import Router, RouterShape, RouterSpec
from fb_jax.projector.router import Layer

DIMS = {"imagebind": 64, "clap_general": 48, "clap_music": 40}


def made(kind, **options):
    bonds = [
        random_bond(kind, ("imagebind", 64), (name, dim), ("text", "audio"), seed)
        for seed, (name, dim) in enumerate(list(DIMS.items())[1:])
    ]
    return FusedSpace.of(*bonds, name="both", **options)


def router(outputs=3, inputs=tuple(DIMS), modality="audio", dims=DIMS, spread=40.0):
    spec = RouterSpec(
        modality, inputs, tuple(dims[n] for n in inputs), outputs, RouterShape((), ())
    )
    rng = np.random.default_rng(0)
    weight = spread * rng.normal(size=spec.layer_shapes[0]).astype(np.float32) / 10
    return Router(spec, (Layer(weight, rng.normal(size=outputs).astype(np.float32)),))


def routed(space, **routers):
    return space.with_last(replace(space.last, routers=routers))


def cut_sum():
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(152, 30)))[0].astype(np.float32)
    return with_basis(made("direct_sum"), axes)


SPACES = {
    "weighted sum": lambda: made("combination"),
    "OmniBind's": lambda: made("combination", unit_experts=False),
    "direct sum": lambda: made("direct_sum"),
    "cut": cut_sum,
}


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def space(request):
    return request.param()


def test_weights_of_one_change_nothing(space):
    rows = native_rows(space, "audio")
    even = routed(space, audio=Router.constant(router().spec, np.ones(3, np.float32)))
    np.testing.assert_allclose(even.fuse("audio", rows), space.fuse("audio", rows), atol=1e-6)
    texts = native_rows(space, "text")
    np.testing.assert_array_equal(even.fuse("text", texts), space.fuse("text", texts))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_weighted_sum_equals_its_float64_twin():
    """Eq. R2, with and without the norm of the mean of the experts' projections."""
    for unit_experts in (True, False):
        plain = made("combination", unit_experts=unit_experts).with_factors(audio=0.3)
        rows = native_rows(plain, "audio")
        r = np.float64(router().weights(rows))
        e = [np.float64(b.to_target("expert", "audio", rows[b.expert])) for b in plain.last.bonds]
        c = np.linalg.norm(np.mean(e, axis=0), axis=1, keepdims=True) if unit_experts else 1
        expert = np.mean([r[:, i + 1, None] * x for i, x in enumerate(e)], axis=0) / c
        wanted = unit(0.7 * r[:, :1] * rows["imagebind"] + 0.3 * expert)
        found = routed(plain, audio=router()).fuse("audio", rows)
        np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("factor", [0.1, 2 / 3])
def test_scores_of_a_direct_sum_are_means_at_the_items_own_weights(factor):
    """Eq. R3: sum_b r_b p_b <q_b, x_b>, divided by the norm of the routed row."""
    plain = made("direct_sum").with_factors(audio=factor, text=factor)
    space = routed(plain, audio=router())
    items, queries = native_rows(space, "audio", 5), native_rows(space, "text", 4)
    r = np.float64(router().weights(items))
    p = np.float64(plain.last.block_norms("audio"))
    scores = sum(
        p[b] * r[:, b] * (np.float64(queries[name]) @ items[name].T)
        for b, name in enumerate(space.last.blocks_of("audio"))
    )
    wanted = scores / np.sqrt((p * r**2).sum(1))
    found = space.fuse("text", queries) @ space.fuse("audio", items).T
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert np.abs(r - 1).max() > 0.3


def test_rows_are_linear_in_the_weights_before_they_are_normalised(space):
    bare = space.with_last(replace(space.last, normalise=False))
    rows, spec = native_rows(space, "audio"), router().spec
    alone = [
        routed(bare, audio=Router.constant(spec, one)).fuse("audio", rows) for one in np.eye(3)
    ]
    wanted = np.einsum("nb,bnd->nd", router().weights(rows), alone) / 3
    np.testing.assert_allclose(routed(bare, audio=router()).fuse("audio", rows), wanted, atol=3e-6)


def test_components_weighted_by_shares_are_routed_rows(space):
    space = routed(space, audio=router()).with_factors(audio=0.35)
    rows = native_rows(space, "audio")
    shares = space.last.shares("audio", 0.35)
    parts = space.last.components(space.parts("audio", rows))
    mixed = sum(share * part for share, part in zip(shares, parts, strict=True))
    np.testing.assert_allclose(space.fuse("audio", rows), unit(mixed), atol=2e-6)


def test_items_without_a_space_that_the_router_reads_have_the_weights_one(space):
    rows = native_rows(space, "audio")
    fewer = {name: x for name, x in rows.items() if name != "clap_music"}
    found = routed(space, audio=router()).fuse("audio", fewer)
    np.testing.assert_array_equal(found, space.fuse("audio", fewer))
    narrow = routed(space, audio=router(inputs=("imagebind",)))
    assert np.abs(narrow.fuse("audio", fewer) - space.fuse("audio", fewer)).max() > 1e-2
    alone = {"imagebind": rows["imagebind"]}
    if isinstance(space.last, WeightedSum):  # nothing to weigh
        np.testing.assert_array_equal(narrow.fuse("audio", alone), space.fuse("audio", alone))


def test_a_router_of_an_earlier_stage_counts_in_later_ones(space):
    later = random_bond("combination", ("both", space.dim), ("e", 20), ("audio",), 5)
    both = FusedSpace.of(later, base=space)
    rows = native_rows(both, "audio")
    first = {name: x for name, x in rows.items() if name != "e"}
    base = routed(space, audio=router())
    later_space = FusedSpace.of(later, base=base)
    found = later_space.parts("audio", rows).unified
    np.testing.assert_array_equal(found, base.fuse("audio", first))


def test_a_stored_space_gives_the_same_rows_and_digest(space, tmp_path):
    weighed = routed(space, audio=router(), text=router(modality="text"))
    weighed.save(tmp_path / "space")
    read = FusedSpace.load(tmp_path / "space")
    assert read == weighed
    assert digest(read) == digest(weighed) != digest(space)
    rows = native_rows(space, "audio")
    np.testing.assert_array_equal(read.fuse("audio", rows), weighed.fuse("audio", rows))
    assert read != routed(space, audio=router(), text=router(modality="text", spread=41.0))


def test_a_space_without_routers_is_described_as_before():
    stage = made("combination").last
    assert not {"routers", "unit_experts"} & set(stage_json(stage))
    assert stage_json(made("combination", unit_experts=False).last)["unit_experts"] is False


def test_banks_are_fused_and_items_that_lack_a_space_are_listed(root, tmp_path):
    banks = open_banks(root, "val", spaces=("imagebind", "clap_general"))
    bond = random_bond("combination", ("imagebind", 64), ("clap_general", 48), ("text", "audio"))
    space = routed(FusedSpace.of(bond), audio=router(2, ("imagebind", "clap_general")))
    write_fused(space, banks, tmp_path, "fused", dtype="float32")
    found = open_banks(tmp_path, "val", spaces=("fused",))["fused", "audio"][:]
    wanted = space.fuse("audio", sources(space, banks, "audio"))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: routed(s, audio=router(4)), "4 weights of audio"),
        (lambda s: routed(s, text=router()), "belongs to another space"),
        (lambda s: routed(s, image=router(modality="image")), "modality of a router|4|3 weights"),
        (lambda s: routed(s, audio=router(inputs=("x",), dims={"x": 3})), "reads other rows"),
        (lambda s: routed(s, audio=router(dims=DIMS | {"imagebind": 3})), "imagebind with 64"),
    ],
)
def test_routers_that_do_not_fit_are_refused(make, text):
    with pytest.raises(FreeBindError, match=text):
        make(made("combination"))


def test_fewer_experts_have_no_routers(caplog):
    fewer = routed(made("combination").named("few"), audio=router()).with_experts("clap_music")
    assert not fewer.last.routers
    assert "few: without some of its experts it has no routers" in caplog.text


@pytest.mark.parametrize("expert", [0.3, 1.0])
def test_omnibinds_experts_count_less_if_their_members_disagree(expert):
    """Members give X and Y: their mean has the norm sqrt(1/2), and stays so."""
    same, swap = np.eye(2), np.eye(2)[::-1]
    bond = linear_bond("combination", same, swap)
    x, y = np.eye(2, dtype=np.float32)[:, None]
    at = {"text": expert, "audio": 0.5}
    fused = FusedSpace.of(bond, at=at, unit_experts=False, normalise=False)
    wanted = (1 - expert) * x + expert * (x + y) / 2
    np.testing.assert_allclose(fused.fuse("text", {"u": x, "e": x}), wanted, atol=1e-6)


def test_routers_of_other_factors_replace_the_stored_space_and_nothing_else_does(tmp_path):
    space, folder = routed(made("direct_sum"), audio=router()), tmp_path / "space"
    space.save(folder)
    again = routed(space.choosing(dict.fromkeys(space.weighted, 0.3)), audio=router(spread=20.0))
    with pytest.raises(FreeBindError, match="holds something else"):
        again.save(folder)
    again.save(folder, other_factors=True)
    assert FusedSpace.load(folder) == again
    without = routed(again)
    without.save(folder, other_factors=True)
    assert FusedSpace.load(folder) == without
    with pytest.raises(FreeBindError, match="holds something else"):
        routed(made("direct_sum", fill=0.3), audio=router()).save(folder, other_factors=True)
    assert FusedSpace.load(folder) == without
