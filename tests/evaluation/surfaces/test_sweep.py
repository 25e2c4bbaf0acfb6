import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from made import random_product

from fb_jax.banks import open_banks
from fb_jax.evaluation import Sweep, evaluate, plot_sweep, sweep
from fb_jax.evaluation.surfaces.sweep import grid_for
from fb_jax.fusion import FusedSpace, cut
from fb_jax.projector import Bond

PAIRS = ["audio-image", "audio-text", "image-text"]
ALL = ("text", "audio", "image")


@pytest.fixture
def with_images(test_banks):
    """The banks of a split, with the expert's texts in the place of images that it lacks."""
    extra = {("clap_general", "image"): test_banks["clap_general", "text"]}
    return replace(test_banks, banks={**test_banks.banks, **extra})


@pytest.fixture(scope="module")
def swept(space, test_banks):
    return sweep(space, test_banks, grid=(0.0, 0.1, 0.5, 0.8))


def test_the_default_grid_has_21_steps_and_fewer_for_many_factors():
    assert list(grid_for(2)) == pytest.approx([i / 20 for i in range(21)])
    assert [len(grid_for(m)) for m in (5, 6, 7, 8, 13, 14)] == [21, 11, 6, 6, 3, 2]


def test_there_is_a_surface_for_every_pair_with_a_table(swept):
    assert swept.modalities == ("text", "audio")
    shapes = {pair: surface.shape for pair, surface in swept.surfaces.items()}
    assert shapes == {"audio-image": (4, 1), "audio-text": (4, 4), "image-text": (1, 4)}


def test_a_surface_lies_over_the_factors_in_their_order(swept):
    by_text = swept.surfaces["image-text"][0]
    assert swept.over_factors("image-text").shape == (4, 1)
    np.testing.assert_array_equal(swept.over_factors("image-text")[:, 0], by_text)
    np.testing.assert_array_equal(swept.over_factors("audio-text"), swept.surfaces["audio-text"].T)
    plane = swept.plane("image-text", {"text": 0.0, "audio": 0.0})
    np.testing.assert_array_equal(plane, np.tile(by_text[:, None], 4))


@pytest.mark.parametrize("pair", PAIRS)
def test_without_the_expert_a_combination_is_the_unified_space(swept, metrics, pair):
    assert swept.surfaces[pair][0, 0] == swept.unified[pair] == metrics["unified"][pair]["R@1"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("preset", "place"), [("versatile", (1, 2)), ("at_expertise", (2, 3))])
def test_a_point_of_the_grid_is_what_evaluate_gives_there(swept, metrics, pair, preset, place):
    at = swept.plane(pair, {"text": 0.0, "audio": 0.0})
    assert at[place] == pytest.approx(metrics[preset][pair]["R@1"])


def test_the_factors_of_the_space_do_not_matter(space, test_banks, swept):
    again = sweep(space.with_factors(text=1.0, audio=1.0), test_banks, grid=(0.0, 0.1, 0.5, 0.8))
    assert again == swept


@pytest.fixture
def three(space):
    """A space whose one expert takes images for texts: three modalities have a factor."""
    (bond,) = space.last.bonds
    wider = Bond(replace(bond.spec, shared=ALL), bond.variables)
    return FusedSpace.of(wider, at=dict.fromkeys(ALL, 0.3))


def test_of_three_factors_every_pair_has_its_own_two(three, with_images):
    swept = sweep(three, with_images, grid=(0.1, 0.8))
    assert swept.modalities == ALL
    point = {"text": 0.1, "audio": 0.8, "image": 0.1}
    metrics = evaluate(three, with_images, {"here": point})["here"]
    for pair in PAIRS:
        assert swept.plane(pair, point)[0, 1] == pytest.approx(metrics[pair]["R@1"])
    away = swept.plane("image-text", {**point, "image": 0.9})
    np.testing.assert_array_equal(away[:, 0], swept.surfaces["image-text"][1])


def test_the_picture_shows_the_plane_of_the_chosen_factors(tmp_path):
    surfaces = {"image-text": np.array([[50.0, 60.0], [70.0, 80.0]])}
    swept = Sweep(("text", "audio", "image"), (0.0, 1.0), surfaces, {"image-text": 60.0})
    for name, image in (("low", 0.0), ("high", 1.0)):
        point = {"text": 0.5, "audio": 0.5, "image": image}
        plot_sweep(swept, {"chosen": point}, "title", tmp_path / name)
    assert (tmp_path / "low").read_bytes() != (tmp_path / "high").read_bytes()


@pytest.mark.parametrize("kind", ["displacement", "direct_sum"])
@pytest.mark.parametrize("dim", [None, 20])
def test_every_kind_of_stage_is_swept_as_it_is_evaluated(root, make_bond, kind, dim):
    space = FusedSpace.of(make_bond(kind))
    banks = open_banks(root, "test", spaces=space.spaces)
    if dim is not None and kind == "direct_sum":
        space = cut(space, dim, banks)
    swept = sweep(space, banks, grid=(0.0, 0.3, 1.0))
    point = {m: (0.3, 1.0)[i % 2] for i, m in enumerate(space.weighted)}
    metrics = evaluate(space, banks, {"here": point})
    found = metrics.get(f"here, {dim} dimensions", metrics["here"])
    for pair in swept.surfaces:
        at = tuple((0.0, 0.3, 1.0).index(point[m]) for m in swept.modalities)
        whole = np.broadcast_to(swept.over_factors(pair), [3] * len(swept.modalities))
        assert whole[at] == pytest.approx(found[pair]["R@1"])


def test_progress_counts_the_pairs(space, test_banks):
    seen = []
    sweep(space, test_banks, grid=(0.0,), progress=seen.append)
    assert sum(seen) == len(PAIRS)


def test_a_product_is_swept_from_its_base_on(root):
    product = random_product().with_experts(["clap_general"])
    native = open_banks(root, "test", spaces=product.spaces)
    swept, own = sweep(product, native, grid=(0.0, 0.5)), evaluate(product, native)
    for pair in PAIRS:
        assert (
            swept.plane(pair, {"text": 0.0, "audio": 0.0})[0, 0]
            == swept.unified[pair]
            == own["internvl_ib"][pair]["R@1"]
        )


def test_a_sweep_is_a_value():
    swept = Sweep(("text", "audio"), (0.0, 0.5), {"a-b": np.array([[0.0, 8.0]])}, {}, "lambda")
    assert "lambda of text, audio" in str(swept)
    again = pickle.loads(pickle.dumps(swept))
    assert (again == swept, hash(again) == hash(swept)) == (True, True)
    assert swept != replace(swept, surfaces={"a-b": np.array([[0.0, 4.0]])})
    assert json.loads(json.dumps(swept.to_dict()))["surfaces"]["a-b"] == [[0.0, 8.0]]


def test_factors_are_called_as_in_the_paper(swept, make_bond, root):
    assert swept.symbol == "sigma"
    displaced = FusedSpace.of(make_bond("displacement"))
    banks = open_banks(root, "test", spaces=displaced.spaces)
    assert sweep(displaced, banks, grid=(0.0,)).symbol == "lambda"
