import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.evaluation import best_ranks, ranks
from fb_jax.evaluation.ranks import positive_ranks


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


def test_every_positive_has_a_rank_in_the_order_of_queries_and_ranks():
    pairs = np.array([[2, 3], [0, 1], [2, 0]])
    found = positive_ranks(np.concatenate([FALLING] * 3), AXES, pairs)
    assert (found.query.tolist(), found.rank.tolist()) == ([0, 1, 1], [1, 0, 3])
    assert found.best.tolist() == [1, 0]


# Against a naive twin, with many ties


def naive_ranks(queries, gallery, pairs):
    ranks = []
    for query, scores in enumerate(queries @ gallery.T):
        order = sorted(range(len(gallery)), key=lambda row: (-scores[row], row))
        ranks.append([order.index(row) for asked, row in pairs if asked == query])
    return [sorted(places) for places in ranks if places]


def small_integers(count):
    values = st.lists(st.integers(-1, 1), min_size=2 * count, max_size=2 * count)
    return values.map(lambda numbers: rows(*numbers).reshape(count, 2))


tables = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4))).map(
    lambda pairs: np.array(list(pairs), int).reshape(-1, 2)
)


@settings(deadline=None, max_examples=60)
@given(small_integers(4), small_integers(5), tables, st.sampled_from([1, 3, 4, 99]))
def test_ranks_equal_their_naive_twin_in_chunks_of_any_size(queries, gallery, pairs, chunk):
    found = positive_ranks(queries, gallery, pairs, (4 * len(gallery) + 8 * 2) * chunk)
    twin = naive_ranks(queries, gallery, pairs)
    assert found.rank.tolist() == [rank for places in twin for rank in places]
    assert found.best.tolist() == [places[0] for places in twin]


@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_blocks_of_scores_are_no_larger_than_they_may_be(test_banks, monkeypatch, chunk):
    audio, text = (test_banks["imagebind", modality][:] for modality in ("audio", "text"))
    pairs, sizes = test_banks.pairs("audio", "text"), []
    whole, compute = best_ranks(audio, text, pairs), ranks._pair_ranks
    monkeypatch.setattr(ranks, "CACHED_SCORES", 3 * len(text))
    record = lambda queries, *args: sizes.append(len(queries)) or compute(queries, *args)  # noqa: E731
    monkeypatch.setattr(ranks, "_pair_ranks", record)
    found = best_ranks(audio, text, pairs, (4 * len(text) + 8 * 64) * (chunk + 1) - 1)
    np.testing.assert_array_equal(found, whole)
    assert set(sizes) == {chunk}
    assert len(sizes) == -(-60 // chunk)


def test_memory_for_less_than_one_row_of_scores_does_row_by_row():
    queries, pairs = np.concatenate([FALLING, AXES]), np.array([[0, 2], [3, 1], [3, 2], [4, 0]])
    whole = positive_ranks(queries, AXES, pairs)
    for mine, theirs in zip(positive_ranks(queries, AXES, pairs, 1), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_score_that_is_no_number_never_ranks_first():
    nothing = np.full((2, 4), np.nan, np.float32)
    assert best_ranks(nothing, AXES, np.array([[0, 0], [1, 1]])).tolist() == [4, 4]
    assert best_ranks(AXES[:2], nothing, np.array([[0, 0], [1, 1]])).tolist() == [2, 2]
