import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made import corrected_scores, native_rows, with_hubs

from fb_jax.banks import Split, open_banks, remove_items
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest
from fb_jax.fusion import Hub
from fb_jax.interop import BlockQuery, block_contents
from fb_jax.projector import Router

KINDS = ("both", "displacement", "direct_sum", "cmcr", "exmcr")
ROUTED = ("routed sum", "routed cut", "routed both", "routed, bare")
FACTORS = (None, {"text": 0.0, "audio": 1.0}, {"text": 1.0, "audio": 0.5}, {"text": 0.37})


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("kind", KINDS + ROUTED)
def test_scores_are_those_of_the_fused_rows_at_any_factors(
    spaces, banks_of, fused_items, kind, factors
):
    space, banks = spaces[kind], banks_of(spaces[kind])
    factors = {m: factor for m, factor in (factors or {}).items() if m in space.weighted}
    fused = space.with_factors(**factors)
    query = BlockQuery(space, factors)
    for gallery in block_contents(space, [banks]).galleries:
        stored, numbers = gallery.read(slice(None))
        each = np.zeros((len(stored), 2)) if numbers is None else numbers
        find = gallery.modality
        rows, items = fused_items(fused, banks, find)
        np.testing.assert_array_equal(gallery.rows, rows)
        for modality in space.modalities:  # image: no expert has it
            asked = native_rows(space, modality, count=3)
            ours, rows = nearest(fused.fuse(modality, asked), items, len(items))
            products = query.vectors(modality, asked, find) @ stored.T
            scores, order = query.rescore(products, np.tile(each, (3, 1, 1)), find)
            np.testing.assert_allclose(scores, ours, atol=5e-7)
            np.testing.assert_array_equal(order, rows)


HUBS = {("audio", "text"): Hub(3, 0.75), ("image", "text"): Hub(7, 0.5)}


@pytest.mark.parametrize("kind", KINDS + ROUTED)
def test_scores_are_hub_corrected_at_the_factors_of_the_space(
    spaces, banks_of, fused_items, kind, caplog
):
    space, banks = with_hubs(spaces[kind], HUBS), banks_of(spaces[kind])
    query, contents = BlockQuery(space), block_contents(space, [banks])
    for gallery in contents.galleries:
        stored, numbers = gallery.read(slice(None))
        assert stored.shape[1] == contents.dim
        each, find = np.zeros((len(stored), 2)) if numbers is None else numbers, gallery.modality
        _, items = fused_items(space, banks, find)
        for modality in space.modalities:
            asked = native_rows(space, modality, count=3)
            plain = space.fuse(modality, asked)
            wanted = corrected_scores(space, modality, plain, find, items)
            products = query.vectors(modality, asked, find) @ stored.T
            scores, order = query.rescore(products, np.tile(each, (3, 1, 1)), find)
            np.testing.assert_array_equal(order, np.argsort(-wanted, axis=1, kind="stable"))
            wanted = np.take_along_axis(wanted, order, axis=1)
            np.testing.assert_allclose(scores, wanted, atol=2e-6)
    assert caplog.text == ""
    assert contents.about() != block_contents(space.plain, [banks]).about()


def test_at_other_factors_the_correction_is_that_of_the_space_and_that_is_said(
    spaces, banks_of, fused_items, caplog
):
    space, asked = with_hubs(spaces["direct_sum"]), native_rows(spaces["direct_sum"], "text", 3)
    with caplog.at_level(logging.WARNING, "freebind"):
        query = BlockQuery(space, {"audio": 0.2})
    assert "the hub correction of blocks is that of its own factors" in caplog.text
    banks = banks_of(space)
    stored, _ = block_contents(space, [banks], ["audio"]).galleries[0].read(slice(None))
    other = space.with_factors(audio=0.2)
    scores = other.fuse("text", asked) @ fused_items(other, banks, "audio")[1].T
    biases = space.hubs.biases("audio", fused_items(space, banks, "audio")[1])
    found = query.vectors("text", asked, "audio") @ stored.T
    np.testing.assert_allclose(found, scores - biases[:, 1], atol=2e-6)  # columns: audio, text


def test_removed_items_are_left_out(spaces, house, tmp_path):
    shutil.copytree(house, root := tmp_path / "house")
    remove_items(Split(root / "test"), "audio", ["audio/2 'ü"])
    for kind, rows in (("combination", [0, 1, 3, 5]), ("direct_sum", [1, 3, 5, 6])):
        banks = open_banks(root, "test", spaces=spaces[kind].spaces)
        (gallery,) = block_contents(spaces[kind], [banks], ["audio"]).galleries
        assert gallery.rows[:4].tolist() == rows  # u lacks 4, e lacks 0
        ids = [record["id"] for batch in gallery.batches() for record in batch.records]
        assert ids[:4] == [f"audio/{row} 'ü" for row in rows]


def test_queries_may_lack_an_expert(spaces, banks_of, fused_items):
    space = spaces["direct_sum"]
    asked = {name: rows for name, rows in native_rows(space, "text").items() if name != "f"}
    banks = banks_of(space)
    stored, _ = block_contents(space, [banks], ["audio"]).galleries[0].read(slice(None))
    scores = space.fuse("text", asked) @ fused_items(space, banks, "audio")[1].T
    found = BlockQuery(space).vectors("text", asked, "audio") @ stored.T
    np.testing.assert_allclose(found, scores, atol=5e-7)


def test_a_weighted_sum_has_the_items_that_an_expert_lacks(spaces, banks_of):
    space = spaces["combination"]
    (gallery,) = block_contents(space, [banks_of(space)], ["audio"]).galleries
    assert gallery.rows[:4].tolist() == [0, 1, 2, 3]  # e lacks 0, u lacks 4
    assert gallery.left_out == 1
    stored, numbers = gallery.read(slice(0, 2))
    np.testing.assert_array_equal(stored[0, :16], stored[0, 16:])
    assert numbers[0].tolist() == pytest.approx([1, 0], abs=1e-6)
    whole, _ = gallery.read(slice(None))
    parts = [gallery.read(slice(start, start + 7)).vectors for start in range(0, 30, 7)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_a_weighted_sum_can_be_computed_by_hand(spaces):
    query = BlockQuery(spaces["combination"], {"audio": 0.25})
    assert query.norm_terms("audio") == (0.625, 0.375, -0.5)
    assert query.norm_terms("image") == (1.0, 0.0, -1.0)
    numbers = np.array([[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    scores, order = query.rescore(np.array([[1.0, 1.0, 0.5]]), numbers, "audio")
    np.testing.assert_allclose(scores, [[1 / 0.625**0.5, 1, 0.5 / 0.625**0.5]], rtol=1e-6)
    assert order.tolist() == [[1, 0, 2]]


def test_parts_that_cancel_out_have_a_finite_score(spaces):
    query = BlockQuery(spaces["combination"], {"audio": 0.5})
    scores, _ = query.rescore(np.zeros((1, 1)), np.array([[[-1.0, 0.0]]]), "audio")
    assert scores.tolist() == [[0.0]]


def test_a_direct_sum_stores_unit_rows_of_every_space(spaces, banks_of):
    space = spaces["direct_sum"]
    banks = banks_of(space)
    contents = block_contents(space, [banks], ["audio"])
    assert (contents.dim, contents.numbers) == (16 + 12 + 8, False)
    stored, numbers = contents.galleries[0].read(slice(2, 9))
    assert numbers is None
    native = [banks[name, "audio"][2:9] for name in ("u", "e", "f")]
    np.testing.assert_allclose(stored, np.hstack(native), atol=1e-6)


def test_the_factors_of_a_space_play_no_part_in_its_blocks(spaces, banks_of):
    space = spaces["displacement"]
    contents = block_contents(space, [banks_of(space)])
    other = block_contents(space.with_factors(audio=0.9), [banks_of(space)])
    assert contents.about() == other.about()
    again = block_contents(spaces["combination"], [banks_of(space)])
    assert contents.about()["fused"] != again.about()["fused"]


def test_a_space_that_is_not_normalised_is_refused(spaces, banks_of):
    last = spaces["combination"].last
    space = spaces["combination"].with_last(replace(last, normalise=False))
    says = r"a stage of this space is not normalised\n.*u.e\n.*freebind fuse"
    for attempt in (BlockQuery, lambda space: block_contents(space, [banks_of(space)])):
        with pytest.raises(FreeBindError, match=says):
            attempt(space)


def test_the_blocks_of_a_routed_direct_sum_are_its_rows_at_the_items_weights(spaces, banks_of):
    """Eq. R7, and the squared norm of a routed row, from the weights themselves."""
    space = spaces["routed sum"].with_factors(audio=0.3)
    banks, names = banks_of(space), ("u", "e", "f")
    contents = block_contents(space, [banks], ["audio"])
    stored, numbers = contents.galleries[0].read(slice(None))
    native = {name: banks[name, "audio"][:] for name in names}
    r = np.float64(space.last.routers["audio"].weights(native))
    g = np.sqrt((r[:, 0] ** 2 + (r[:, 1] ** 2 + r[:, 2] ** 2) / 2) / 2)
    wanted = [r[:, b, None] * native[name] / g[:, None] for b, name in enumerate(names)]
    np.testing.assert_allclose(stored, np.hstack(wanted), atol=1e-6)
    a, b, c = BlockQuery(space).norm_terms("audio")
    norms = (np.array([0.7, 0.15, 0.15]) * r**2).sum(axis=1) / g**2
    np.testing.assert_allclose(a + numbers @ [b, c], norms, atol=1e-6)
    assert contents.numbers
    assert np.abs(numbers[:, 1]).max() > 0.05


def test_an_item_whose_router_leaves_a_space_nearly_nothing_is_scored_by_that_space(
    spaces, banks_of, fused_items
):
    """At the factor 0 its row is u's alone, and 1 and the balance cancel out to 5e-6."""
    direct = spaces["direct_sum"].with_factors(audio=0.0)
    spec = spaces["routed sum"].last.routers["audio"].spec
    router = Router.constant(spec, np.array([2e-3, 1, 1]))
    space = direct.with_last(replace(direct.last, routers={"audio": router}))
    banks, asked = banks_of(space), native_rows(space, "text", count=3)
    stored, numbers = block_contents(space, [banks], ["audio"]).galleries[0].read(slice(None))
    products = BlockQuery(space).vectors("text", asked, "audio") @ stored.T
    found, _ = BlockQuery(space).rescore(products, np.tile(numbers, (3, 1, 1)), "audio")
    scores = space.fuse("text", asked) @ fused_items(space, banks, "audio")[1].T
    np.testing.assert_allclose(found, -np.sort(-scores, axis=1), atol=5e-7)


def test_unknown_modalities_and_factors_are_refused(spaces, banks_of):
    space = spaces["combination"]
    rows = native_rows(space, "text")
    with pytest.raises(FreeBindError, match="there is no modality 'video'"):
        BlockQuery(space).vectors("text", rows, "video")
    with pytest.raises(FreeBindError, match="there is no modality 'video'"):
        BlockQuery(space).norm_terms("video")
    with pytest.raises(FreeBindError, match="there is no factor of e for 'image'"):
        BlockQuery(space, {"image": 0.5})
    with pytest.raises(FreeBindError, match="there is no modality 'video'"):
        block_contents(space, [banks_of(space)], ["video"])
