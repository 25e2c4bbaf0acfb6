import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from made import random_product

from fb_jax.banks import open_banks
from fb_jax.evaluation import GRID, Sweep, evaluate, plot_sweep, sweep
from fb_jax.fusion import FusedSpace
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


def test_the_default_grid_has_11_steps_from_0_to_1():
    assert list(GRID) == pytest.approx([i / 10 for i in range(11)])


def test_there_is_a_surface_for_every_pair_with_a_table(swept):
    assert swept.modalities == ("text", "audio")
    assert [(pair, surface.shape) for pair, surface in swept.surfaces.items()] == [
        (pair, (4, 4)) for pair in PAIRS
    ]


@pytest.mark.parametrize("pair", PAIRS)
def test_without_the_expert_a_combination_is_the_unified_space(swept, metrics, pair):
    assert swept.surfaces[pair][0, 0] == swept.unified[pair] == metrics["unified"][pair]["R@1"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("preset", "place"), [("versatile", (1, 2)), ("at_expertise", (2, 3))])
def test_a_point_of_the_grid_is_what_evaluate_gives_there(swept, metrics, pair, preset, place):
    assert swept.surfaces[pair][place] == metrics[preset][pair]["R@1"]


def test_a_pair_with_one_shared_modality_depends_on_its_factor_alone(swept):
    by_text, by_audio = swept.surfaces["image-text"], swept.surfaces["audio-image"]
    assert len(np.unique(by_text, axis=1).T) == len(np.unique(by_audio, axis=0)) == 1
    assert len(np.unique(by_text)) > 1
    assert len(np.unique(by_audio)) > 1


def test_the_factors_of_the_space_do_not_matter(space, test_banks, swept):
    again = sweep(space.with_factors(text=1.0, audio=1.0), test_banks, grid=(0.0, 0.1))
    for pair in PAIRS:
        np.testing.assert_array_equal(again.surfaces[pair], swept.surfaces[pair][:2, :2])


@pytest.fixture
def three(space):
    """A space whose one expert takes images for texts: three modalities have a factor."""
    (bond,) = space.last.bonds
    wider = Bond(replace(bond.spec, shared=ALL), bond.variables)
    return FusedSpace.of(wider, at=dict.fromkeys(ALL, 0.3))


def test_of_three_factors_the_first_two_are_swept_and_the_third_stays(three, with_images):
    swept = sweep(three, with_images, grid=(0.1, 0.8))
    assert (swept.modalities, swept.fixed) == (("text", "audio"), {"image": 0.3})
    point = {"text": 0.1, "audio": 0.8, "image": 0.3}
    metrics = evaluate(three, with_images, {"here": point})["here"]
    for pair in PAIRS:
        assert swept.surfaces[pair][0, 1] == metrics[pair]["R@1"]
    away = sweep(three.with_factors(image=0.9), with_images, grid=(0.1,))
    assert away.surfaces["image-text"] != swept.surfaces["image-text"][:1, :1]


def test_the_picture_tells_what_stays(tmp_path):
    surfaces = {"image-text": np.array([[50.0, 60.0], [70.0, 80.0]])}
    for name, fixed in (("two", {}), ("three", {"image": 0.3})):
        swept = Sweep(("text", "audio"), (0.0, 1.0), surfaces, {"image-text": 60.0}, fixed)
        plot_sweep(swept, {}, "title", tmp_path / name)
    assert (tmp_path / "two").read_bytes() != (tmp_path / "three").read_bytes()


def test_progress_counts_the_pairs(space, test_banks):
    seen = []
    sweep(space, test_banks, grid=(0.0,), progress=seen.append)
    assert sum(seen) == len(PAIRS)


def test_a_product_is_swept_from_its_base_on(root):
    product = random_product().with_experts(["clap_general"])
    native = open_banks(root, "test", spaces=product.spaces)
    swept, own = sweep(product, native, grid=(0.0, 0.5)), evaluate(product, native)
    for pair in PAIRS:
        assert swept.surfaces[pair][0, 0] == swept.unified[pair] == own["internvl_ib"][pair]["R@1"]


def test_the_best_point_has_the_best_mean_and_of_equals_the_lowest_factors():
    surfaces = {
        "a-b": np.array([[0.0, 8.0], [4.0, 0.0]]),
        "a-c": np.array([[0.0, 0.0], [4.0, 8.0]]),
    }
    swept = Sweep(("text", "audio"), (0.0, 0.5), surfaces, {}, {"image": 0.3}, "lambda")
    assert swept.best() == {"text": 0.0, "audio": 0.5, "image": 0.3}
    assert "lambda text 0, lambda audio 0.5" in str(swept)
    again = pickle.loads(pickle.dumps(swept))
    assert (again == swept, hash(again) == hash(swept)) == (True, True)
    assert swept != replace(swept, surfaces={"a-b": surfaces["a-b"]})
    assert json.loads(json.dumps(swept.to_dict()))["surfaces"]["a-b"] == [[0.0, 8.0], [4.0, 0.0]]


def test_factors_are_called_as_in_the_paper(swept, make_bond, root):
    assert swept.symbol == "sigma"
    displaced = FusedSpace.of(make_bond("displacement"))
    banks = open_banks(root, "test", spaces=displaced.spaces)
    assert sweep(displaced, banks, grid=(0.0,)).symbol == "lambda"
