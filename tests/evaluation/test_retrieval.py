from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.evaluation import KS, best_ranks, retrieval
from fb_jax.registry import METRICS

MODULE = import_module("fb_jax.evaluation.retrieval")  # the package has a function of this name


def rows(*values) -> np.ndarray:
    return np.array(values, np.float32)


AXES = np.eye(4, dtype=np.float32)
FALLING = rows([4, 3, 2, 1])  # a query that finds the axes in their order


# By hand


@pytest.mark.parametrize("place", range(4))
def test_the_rank_of_a_positive_is_the_number_of_better_rows(place):
    assert best_ranks(FALLING, AXES, np.array([[0, place]])).tolist() == [place]


@pytest.mark.parametrize(("positives", "rank"), [([3, 1], 1), ([1, 3], 1), ([3, 2], 2)])
def test_of_several_positives_the_best_one_counts(positives, rank):
    pairs = np.array([[0, positive] for positive in positives])
    assert best_ranks(FALLING, AXES, pairs).tolist() == [rank]


def test_of_equal_scores_the_lower_row_ranks_first():
    gallery = np.ones((4, 1), np.float32)
    for place in range(4):
        assert best_ranks(rows([1]), gallery, np.array([[0, place]])).tolist() == [place]
    assert best_ranks(rows([1]), gallery, np.array([[0, 3], [0, 1]])).tolist() == [1]


def test_a_query_without_positives_is_not_asked():
    queries = np.concatenate([FALLING, FALLING, FALLING])
    assert best_ranks(queries, AXES, np.array([[2, 3], [0, 1]])).tolist() == [1, 3]


def test_nothing_is_asked_without_pairs():
    assert best_ranks(FALLING, AXES, np.empty((0, 2), int)).tolist() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("R@1", 25.0),
        ("R@5", 75.0),
        ("R@10", 100.0),
        ("median rank", 3.5),
        ("MRR", 100 * (1 + 1 / 2 + 1 / 5 + 1 / 10) / 4),
    ],
)
def test_metrics_of_ranks_by_hand(name, value):
    assert METRICS.get(name)(np.array([0, 1, 4, 9])) == pytest.approx(value)


LEFT = rows([1, 0], [0, 1], [1, 1])
RIGHT = rows([2, 0], [0, 2], [3, 3])  # the last is everybody's best, and nobody's pair
PAIRS = np.array([[0, 0], [1, 1], [2, 0], [2, 1]])


def test_both_directions_are_told_and_their_mean():
    found = retrieval(LEFT, RIGHT, PAIRS, ("audio", "text"))
    after_row_2 = {"R@1 audio->text": 0.0, "R@5 audio->text": 100.0, "R@10 audio->text": 100.0}
    first = {f"R@{k} text->audio": 100.0 for k in KS}
    assert found == {"R@1": 50.0, "R@5": 100.0, "R@10": 100.0} | after_row_2 | first


def test_many_to_many_pairs_are_read_from_either_side():
    forth = retrieval(LEFT, RIGHT, PAIRS, ("a", "b"))
    assert retrieval(RIGHT, LEFT, PAIRS[:, ::-1], ("b", "a")) == forth


# Against a naive twin, with many ties


def naive_ranks(queries, gallery, pairs):
    ranks = []
    for query, scores in enumerate(queries @ gallery.T):
        order = sorted(range(len(gallery)), key=lambda row: (-scores[row], row))
        ranks.append([order.index(row) for asked, row in pairs if asked == query])
    return [min(places) for places in ranks if places]


def small_integers(count):
    values = st.lists(st.integers(-1, 1), min_size=2 * count, max_size=2 * count)
    return values.map(lambda numbers: rows(*numbers).reshape(count, 2))


tables = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4))).map(
    lambda pairs: np.array(list(pairs), int).reshape(-1, 2)
)


@settings(deadline=None, max_examples=60)
@given(small_integers(4), small_integers(5), tables, st.sampled_from([1, 3, 4, 99]))
def test_ranks_equal_their_naive_twin_in_chunks_of_any_size(queries, gallery, pairs, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "SCORE_BYTES", 4 * len(gallery) * chunk)
        assert best_ranks(queries, gallery, pairs).tolist() == naive_ranks(queries, gallery, pairs)


@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_real_embeddings_give_the_same_ranks_in_chunks(test_banks, monkeypatch, chunk):
    audio, text = (test_banks["imagebind", modality][:] for modality in ("audio", "text"))
    whole, sizes = best_ranks(audio, text, test_banks.pairs("audio", "text")), []
    record = lambda queries, *args: sizes.append(len(queries)) or ranks(queries, *args)  # noqa: E731
    ranks = MODULE._best_ranks
    monkeypatch.setattr(MODULE, "_best_ranks", record)
    monkeypatch.setattr(MODULE, "SCORE_BYTES", 4 * len(text) * (chunk + 1) - 1)
    np.testing.assert_array_equal(best_ranks(audio, text, test_banks.pairs("audio", "text")), whole)
    assert sizes == [chunk] * (60 // chunk) + [60 % chunk] * (60 % chunk > 0)


def test_memory_for_less_than_one_row_of_scores_does_row_by_row(monkeypatch):
    monkeypatch.setattr(MODULE, "SCORE_BYTES", 1)
    assert best_ranks(LEFT, RIGHT, PAIRS).tolist() == naive_ranks(LEFT, RIGHT, PAIRS)


def test_a_score_that_is_no_number_never_ranks_first():
    nothing = np.full((2, 4), np.nan, np.float32)
    assert best_ranks(nothing, AXES, np.array([[0, 0], [1, 1]])).tolist() == [4, 4]
    assert best_ranks(AXES[:2], nothing, np.array([[0, 0], [1, 1]])).tolist() == [2, 2]
