import numpy as np
import pytest
from made import random_product

from fb_jax.banks import open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import (
    Sweep,
    evaluate,
    levels_of,
    mean_by_kind,
    mean_levels,
    sweep,
    sweep_sets,
)
from fb_jax.evaluation.results import MEAN_OF_SCORES as MEAN
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace

GRID = (0.0, 0.5)
SWEPT = Sweep(
    ("text", "audio"),
    GRID,
    {
        "a b audio-text": np.array([[0.0, 10.0], [20.0, 30.0]]),
        "c audio-text": np.array([[10.0, 0.0], [40.0, 10.0]]),
        "c audio-class": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "d audio-class": np.array([[3.0, 4.0], [5.0, 8.0]]),
    },
    {"a b audio-text": 1.0, "c audio-text": 3.0, "c audio-class": 1.0, "d audio-class": 2.0},
    metrics={"c audio-class": "top-1", "d audio-class": "mAP"},
)


def test_kinds_of_tasks_have_the_mean_of_their_splits():
    kinds = mean_by_kind(SWEPT)
    np.testing.assert_array_equal(kinds.surfaces["audio-text"], [[5, 5], [30, 20]])
    np.testing.assert_array_equal(kinds.surfaces["audio-class"], [[2, 3], [4, 6]])
    assert kinds.unified == {"audio-text": 2.0, "audio-class": 1.5}
    assert kinds.metrics == {"audio-text": "R@1", "audio-class": "top-1, mAP"}
    assert choose(kinds, Aim("audio-text")).factors == {"audio": 0.5, "text": 0.0}
    np.testing.assert_array_equal(SWEPT.over_factors("d audio-class"), [[3, 5], [4, 8]])


def test_a_source_has_a_mean_where_all_splits_have_it():
    levels = {
        "a audio-text": {"unified": 1.0, "clap": 10.0},
        "b audio-text": {"unified": 3.0},
        "b image-text": {"clap": 2.0},
    }
    assert mean_levels(levels) == {"audio-text": {"unified": 2.0}, "image-text": {"clap": 2.0}}


@pytest.fixture(scope="module")
def space(make_bond):
    return FusedSpace.of(make_bond("combination"))


@pytest.fixture(scope="module")
def sets(root, space):
    return {name: open_banks(root, name, spaces=space.spaces) for name in ("val", "test")}


def test_splits_are_swept_by_their_names(space, sets):
    steps = []
    swept = sweep_sets(space, sets, GRID, steps.append)
    alone = sweep(space, sets["test"], GRID)
    assert len(swept.surfaces) == sum(steps) == 6
    for task, surface in alone.surfaces.items():
        np.testing.assert_array_equal(swept.surfaces[f"test {task}"], surface)
        assert swept.unified[f"test {task}"] == alone.unified[task]
    assert sweep_sets(space, {"": sets["test"]}, GRID) == alone


def test_sources_have_the_scores_of_a_table(space, sets):
    levels = levels_of(space, {"test": sets["test"]})
    table = evaluate(space, sets["test"])
    names = {"imagebind": "unified", "clap_general": "clap_general", MEAN: MEAN}
    assert list(levels["test audio-text"]) == list(names)
    for task, sources in levels.items():
        pair = task.removeprefix("test ")
        assert sources == {
            name: table[row][pair]["R@1"] for name, row in names.items() if pair in table[row]
        }


def test_of_a_later_stage_the_native_space_and_the_earlier_stage_have_their_own_names(root):
    space = random_product().with_experts(["clap_general"])
    sets = {"test": open_banks(root, "test", spaces=space.spaces)}
    swept, levels = sweep_sets(space, sets, GRID), levels_of(space, sets)
    assert swept.before == "internvl_ib"
    sources = levels["test audio-text"]
    assert set(sources) == {"imagebind", "clap_general", "internvl_ib", MEAN}
    assert sources["internvl_ib"] == swept.unified["test audio-text"]


def test_without_splits_nothing_is_swept(space):
    with pytest.raises(FreeBindError, match="nothing to sweep"):
        sweep_sets(space, {})
