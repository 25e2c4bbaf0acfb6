import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skew

from fb_jax.banks import unit_rows
from fb_jax.evaluation.diagnosis.neighbours import between, hubness, overlap, round_trips, within


def random_rows(n, seed=0, d=5):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_an_item_is_not_its_own_neighbour():
    assert within(angles(0, 10, 30), 1).tolist() == [[1], [0], [1]]


def test_of_equal_rows_the_others_are_neighbours():
    assert within(angles(5, 5, 5), 2).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_there_are_at_most_all_others():
    assert within(random_rows(4), 10).shape == (4, 3)


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_are_those_of_a_plain_sort(k):
    rows = random_rows(30)
    scores = rows.astype(np.float64) @ rows.T
    np.fill_diagonal(scores, -2)
    assert np.array_equal(within(rows, k), np.argsort(-scores, axis=1)[:, :k])


def test_the_overlap_counts_items_in_any_order():
    assert overlap(np.array([[0, 1, 2]]), np.array([[2, 0, 7]])).tolist() == [2 / 3]


def test_spaces_that_differ_by_a_rotation_agree_and_unrelated_ones_do_not():
    rows, other = random_rows(200), random_rows(200, seed=1)
    rotated = rows @ np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    lists = [within(x, 10) for x in (rows, rotated.astype(np.float32), other)]
    assert overlap(lists[0], lists[1]).mean() == 1
    assert overlap(lists[0], lists[2]).mean() == pytest.approx(10 / 199, abs=0.03)


def test_items_that_are_found_alike_are_no_hubs():
    assert hubness(np.array([[1], [2], [0]]), 3) == 0


def test_the_hubness_is_the_skewness_of_the_counts():
    lists = np.array([[0, 1], [0, 2], [0, 1], [0, 1]])
    assert hubness(lists, 5) == pytest.approx(skew([4, 3, 1, 0, 0]))


def test_a_round_trip_returns_for_mutual_nearest_items():
    # 0 and 0 are mutual; left 1 goes to right 1, which goes back to left 2.
    left, right = angles(0, 50, 62), angles(2, 60)
    assert round_trips(left, right) == pytest.approx(2 * 2 / 5)


@settings(deadline=None, max_examples=10)
@given(n=st.integers(1, 20), m=st.integers(1, 20))
def test_round_trips_are_those_of_a_plain_loop(n, m):
    left, right = random_rows(n, n), random_rows(m, 100 + m)
    scores = left.astype(np.float64) @ right.T
    pairs = sum(scores[:, scores[i].argmax()].argmax() == i for i in range(n))
    assert round_trips(left, right) == pytest.approx(2 * pairs / (n + m))


def test_round_trips_are_blind_to_a_rotation_of_one_modality():
    """Why they are compared within a space only: rotated rows link nothing, and trips return."""
    left, right = random_rows(500), random_rows(500, seed=1)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0].astype(np.float32)
    assert round_trips(left, right @ rotation) == pytest.approx(round_trips(left, right), abs=0.1)


def test_other_modalities_are_searched_whole():
    assert between(angles(0, 90), angles(80, 5, 100), 2).tolist() == [[1, 0], [0, 2]]
