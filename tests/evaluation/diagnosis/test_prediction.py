import numpy as np
import pytest

from fb_jax.banks import BankSet, unit_rows
from fb_jax.evaluation.diagnosis.neighbours import round_trips
from fb_jax.evaluation.diagnosis.prediction import (
    agreement,
    carried,
    expected_gain,
    linear_map,
    news,
)
from fb_jax.evaluation.diagnosis.sample import Sampling

SAMPLING = Sampling(neighbours=3)
FACTORS = {"audio": 0.5, "text": 0.1}


def rows(n, d, *seed):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


@pytest.fixture
def unified():
    return {m: rows(60, 6, i) for i, m in enumerate(("audio", "image", "text"))}


@pytest.fixture
def turned(unified):
    """The same space, rotated, without images."""
    rotation = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))[0]
    return {m: unit_rows(unified[m] @ rotation) for m in ("audio", "text")}


def banks(unified, expert):
    return BankSet.from_arrays({"u": unified, "e": expert})


def test_the_linear_map_is_the_ridge_regression():
    x, y = rows(20, 3, 1).astype(np.float32), rows(20, 2, 2).astype(np.float32)
    ridge = 1e-3 * np.mean(np.sum(x.astype(np.float64) ** 2, axis=0))
    stacked = np.vstack([x, np.sqrt(ridge) * np.eye(3)]), np.vstack([y, np.zeros((3, 2))])
    np.testing.assert_allclose(linear_map(x, y), np.linalg.lstsq(*stacked)[0], rtol=1e-5)


def test_a_rotated_space_is_carried_whole_and_an_unrelated_one_by_chance(unified, turned):
    assert carried(banks(unified, turned), "u", "e", SAMPLING) == {"audio": 1.0, "text": 1.0}
    other = {m: rows(60, 6, i, 7) for i, m in enumerate(turned)}
    shares = carried(banks(unified, other), "u", "e", SAMPLING)
    assert max(shares.values()) < 0.4  # chance: 3 of 30


def test_shuffled_rows_are_not_carried(unified, turned):
    mixed = {m: np.roll(x, 7, axis=0) for m, x in turned.items()}
    assert max(carried(banks(unified, mixed), "u", "e", SAMPLING).values()) < 0.4


def test_a_rotated_space_has_no_news_of_its_own_pair(unified, turned):
    assert agreement(unified, turned, "audio", "text", 3) == 1
    assert news(unified, turned, 3)["audio", "text"] == 0


def test_an_expert_has_news_of_a_pair_that_it_retrieves_otherwise(unified):
    other = {m: rows(60, 6, i, 7) for i, m in enumerate(("audio", "text"))}
    found = news(unified, other, 3)["audio", "text"]
    both = [agreement(unified, other, *way, 3) for way in (("audio", "text"), ("text", "audio"))]
    assert found == pytest.approx(1 - np.mean(both))
    assert found > 0.8


def test_news_of_other_pairs_comes_over_the_sharper_link_of_the_unified_space(unified, turned):
    found = news(unified, turned, 3)
    trips = {p: round_trips(unified[p[0]], unified[p[1]]) for p in found}
    to_audio, to_text = trips["audio", "image"], trips["image", "text"]
    assert found["audio", "image"] == pytest.approx(to_text - to_audio)
    assert found["image", "text"] == pytest.approx(to_audio - to_text)


def test_of_several_bridges_the_best_counts_and_strangers_learn_nothing(unified):
    unified = unified | {m: rows(60, 6, i) for i, m in enumerate(("depth", "touch"), start=5)}
    expert = {m: unified[m] for m in ("audio", "depth", "text")}
    found = news(unified, expert, 3)
    trip = lambda m: round_trips(unified[m], unified["touch"])  # noqa: E731
    best = max(trip("depth"), trip("text"))
    assert found["audio", "touch"] == pytest.approx(best - trip("audio"))
    assert found["image", "touch"] == 0


def test_the_expected_gain_is_the_product_of_weight_carried_and_news(unified, turned):
    other = {"audio": turned["audio"], "text": rows(60, 6, 8)}
    share = carried(banks(unified, other), "u", "e", SAMPLING)
    new = news(unified, other, 3)
    gains = expected_gain(share, new, {"versatile": FACTORS, "none": {}})
    wanted = 0.3 * np.mean(list(share.values())) * new["audio", "text"]
    assert gains["versatile"]["audio-text"] == pytest.approx(wanted, rel=1e-5)
    wanted = 0.25 * share["audio"] * new["audio", "image"]
    assert gains["versatile"]["audio-image"] == pytest.approx(wanted, rel=1e-5)
    assert set(gains["none"].values()) == {0.0}
