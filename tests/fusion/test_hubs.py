from dataclasses import replace

import numpy as np
import pytest
from made import every_kind, random_bond, with_hubs

from fb_jax.banks import unit_rows
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, Hub, HubCorrection, digest, hubs, with_basis
from fb_jax.fusion.hub_files import PATTERN
from fb_jax.fusion.hubs import highest_scores
from fb_jax.projector import Router, RouterSpec

RNG = np.random.default_rng(0)


def drawn(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def correction(dim: int = 8) -> HubCorrection:
    """A correction of audio-text and image-text; audio-image has none."""
    pairs = {("audio", "text"): Hub(3, 0.75), ("image", "text"): Hub(1, 0.5)}
    names = ("audio", "image", "text")
    return HubCorrection(pairs, {m: drawn(20 + i, dim, i) for i, m in enumerate(names)})


def test_an_item_near_to_every_reference_loses_to_one_that_only_the_query_is_near_to():
    along = lambda *x: np.array([x], np.float32)  # noqa: E731
    references = np.repeat(along(1, 0), 4, axis=0)  # every other query points at the first item
    one = HubCorrection({("audio", "text"): Hub(2, 1.0)}, {"text": references, "audio": references})
    query, items = along(0.8, 0.6), np.vstack([along(1, 0), along(0, 1)])
    assert (query @ items.T).argmax() == 0
    cosines = one.rows("query", "text", query) @ one.rows("item", "audio", items).T
    np.testing.assert_allclose(one.scale("text") * cosines, [[0.8 - 1.0, 0.6 - 0.0]], atol=1e-6)


@pytest.mark.parametrize("asking", ["audio", "image", "text"])
@pytest.mark.parametrize("found", ["audio", "image", "text"])
def test_the_cosine_of_both_roles_is_the_corrected_score_of_eq_b1_in_float64(asking, found):
    one, q, x = correction(), drawn(5, 8, 7), drawn(6, 8, 8)
    hub = one.pairs.get(tuple(sorted((asking, found))))
    bias = 0.0
    if hub:
        near = np.sort(np.float64(x) @ np.float64(one.references[asking]).T, axis=1)
        bias = hub.alpha * near[:, -hub.k :].mean(axis=1)
    rows = one.rows("query", asking, q), one.rows("item", found, x)
    for side in rows:
        assert side.shape[1] == one.dim(8) == 8 + 3 + 1
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 1, atol=1e-6)
    expected = np.float64(q) @ np.float64(x).T - bias
    np.testing.assert_allclose(rows[0] @ rows[1].T * one.scale(asking), expected, atol=2e-6)
    np.testing.assert_allclose(one.plain(rows[0]), q, atol=1e-6)
    np.testing.assert_allclose(one.plain(rows[1]), x, atol=1e-6)


def test_queries_of_a_modality_without_a_correction_have_their_cosines_as_scores():
    x = drawn(3, 8)
    one = HubCorrection({("audio", "text"): Hub(1, 0.5)}, {"audio": x, "text": x})
    rows = one.rows("query", "image", x), one.rows("item", "text", x[::-1])
    np.testing.assert_allclose(rows[0] @ rows[1].T * one.scale("image"), x @ x[::-1].T, atol=1e-6)


def test_every_item_has_the_same_norm_even_where_the_bias_is_as_large_as_it_can_be():
    x = drawn(3, 8)
    pairs = {("audio", "text"): Hub(1, 1.0), ("image", "text"): Hub(1, 0.1)}
    one = HubCorrection(pairs, {"audio": x, "text": -x, "image": x})
    assert one.norm == pytest.approx((1 + 1.0**2 + 1.0**2 + 0.1**2) ** 0.5)
    for asking in ("audio", "text"):  # biases of 1 and of -1
        rows = one.rows("item", "text" if asking == "audio" else "audio", x)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert (rows[:, -1] >= 0).all()


@pytest.mark.parametrize("scores", [1, 45, 1 << 20])
def test_highest_scores_are_those_of_a_full_sort_whatever_is_held_at_a_time(monkeypatch, scores):
    monkeypatch.setattr(hubs, "BLOCK_SCORES", scores)
    x, references = drawn(7, 5, 1), drawn(11, 5, 2)
    every = -np.sort(-(np.float64(x) @ np.float64(references).T), axis=1)
    np.testing.assert_allclose(highest_scores(x, references, 4), every[:, :4], atol=1e-6)
    assert highest_scores(x, references, 99).shape == (7, 11)
    assert highest_scores(x[:0], references, 4).shape == (0, 4)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 1 << 15}, {"alpha": 0.0}, {"alpha": 1.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(FreeBindError, match=f"hub correction {next(iter(wrong))} is out of range"):
        Hub(**wrong)


@pytest.mark.parametrize("kind", ["combination", "cut", "two stages"])
def test_a_space_fuses_plain_rows_and_both_roles(kind):
    space = every_kind()[kind]
    native = {name: drawn(4, space.dims[name], 3) for name in space.spaces_of("audio")}
    plain = space.fuse("audio", native)
    assert space.role_dim == space.dim
    assert np.array_equal(space.fuse("audio", native, role="item"), plain)
    one = correction(space.dim)
    own = replace(space, hubs=one)
    assert np.array_equal(own.fuse("audio", native), plain)
    assert own.role_dim == space.dim + 4
    for role in ("query", "item"):
        assert np.array_equal(own.fuse("audio", native, role=role), one.rows(role, "audio", plain))


def test_a_correction_belongs_to_its_factors_and_to_its_stage():
    space = every_kind()["combination"]
    own = replace(space, hubs=correction(space.dim))
    assert own.named("mine").hubs is own.hubs
    assert own.choosing(own.factors).hubs is own.hubs
    assert own.with_factors(text=0.31).hubs is None
    assert own.at("versatile").hubs is None
    assert own.plain == space
    assert "hub correction of audio-text (k 3, alpha 0.75)" in str(own)
    product = replace(every_kind()["two stages"], hubs=correction(56))
    assert product.base.hubs is None
    later = random_bond("combination", ("", space.dim), ("e", 20), ("audio",))
    assert FusedSpace.of(later, base=own).hubs is None


def test_other_rows_of_the_last_stage_end_a_correction(make_bond):
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(112, 12)))[0].astype(np.float32)
    sums = FusedSpace.of(make_bond("direct_sum"))
    space = with_hubs(with_basis(sums, basis))
    router = Router.constant(
        RouterSpec("audio", ("imagebind",), (64,), 2), np.array([1, 2], np.float32)
    )
    last = space.last
    assert space.with_last(replace(last, presets={}, name="other")).hubs is space.hubs
    for other in (
        replace(last, routers={"audio": router}),
        replace(last, fill=0.5),
        replace(last, normalise=False),
        replace(last, basis=basis[:, ::-1].copy()),
        sums.last,
    ):
        assert space.with_last(other).hubs is None
        if other.dim != 12:
            with pytest.raises(FreeBindError, match="belongs to another space"):
                replace(space, stages=(other,))


@pytest.mark.parametrize(
    ("pairs", "references"),
    [
        ({}, ()),
        ({("text", "audio"): Hub()}, ("text", "audio")),
        ({("audio", "text"): Hub()}, ("text",)),
        ({("audio", "text"): Hub()}, ("text", "audio", "image")),
    ],
)
def test_pairs_and_references_that_do_not_fit_are_refused(pairs, references):
    with pytest.raises(FreeBindError, match="pairs in alphabetical order, and their references"):
        HubCorrection(pairs, dict.fromkeys(references, drawn(3, 4)))


@pytest.mark.parametrize("rows", [drawn(3, 7), drawn(0, 64)])
def test_references_of_another_space_are_refused(rows):
    one = HubCorrection({("audio", "text"): Hub()}, {"audio": rows, "text": rows})
    with pytest.raises(FreeBindError, match="belongs to another space"):
        replace(every_kind()["combination"], hubs=one)


def test_references_of_a_modality_that_the_space_lacks_are_refused():
    rows = drawn(3, 64)
    one = HubCorrection({("points", "text"): Hub()}, {"points": rows, "text": rows})
    with pytest.raises(FreeBindError, match=r"belongs to another space(.|\n)*points"):
        replace(every_kind()["combination"], hubs=one)


def test_a_correction_is_saved_with_the_space_and_is_part_of_its_identity(tmp_path):
    space = every_kind()["combination"]
    own = replace(space, hubs=correction(space.dim))
    own.save(tmp_path / "s")
    assert FusedSpace.load(tmp_path / "s").hubs == own.hubs
    assert digest(own) != digest(space)
    again = replace(
        own, hubs=replace(own.hubs, pairs={**own.hubs.pairs, ("audio", "text"): Hub(9, 1.0)})
    )
    again.save(tmp_path / "s", other_factors=True)  # the same factors, chosen again
    assert FusedSpace.load(tmp_path / "s").hubs == again.hubs
    assert digest(FusedSpace.load(tmp_path / "s")) == digest(again)
    for other in (
        correction(space.dim),
        replace(own.hubs, pairs={**own.hubs.pairs, ("audio", "text"): Hub(4, 0.75)}),
        replace(own.hubs, pairs={**own.hubs.pairs, ("audio", "text"): Hub(3, 0.5)}),
        replace(own.hubs, references={**own.hubs.references, "text": drawn(22, space.dim, 9)}),
    ):
        assert (digest(replace(space, hubs=other)) == digest(own)) == (other == own.hubs)


def test_factors_that_are_chosen_again_replace_the_correction_and_leave_no_file_behind(tmp_path):
    space = every_kind()["combination"]
    replace(space, hubs=correction(space.dim)).save(tmp_path / "s")
    again = space.choosing({"text": 0.5, "audio": 0.5})
    with pytest.raises(FreeBindError, match="holds something else"):
        again.save(tmp_path / "s")
    again.save(tmp_path / "s", other_factors=True)
    assert FusedSpace.load(tmp_path / "s").hubs is None
    assert not list((tmp_path / "s").glob(PATTERN))


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_damaged_references_are_found(tmp_path, damage):
    space = every_kind()["combination"]
    replace(space, hubs=correction(space.dim)).save(tmp_path / "s")
    (file,) = (tmp_path / "s").glob(PATTERN)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    if damage == "altered":
        file.write_bytes(content)
    with pytest.raises(FreeBindError, match="references"):
        FusedSpace.load(tmp_path / "s")
