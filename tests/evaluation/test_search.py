import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest, search

COMPASS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.6, 0.8]], np.float32)
QUERIES = np.array([[2, 0], [0, -0.5]], np.float32)  # east and south, of any norm

galleries = st.lists(st.sampled_from(range(5)), min_size=7, max_size=7)


@settings(deadline=None, max_examples=40)
@given(galleries, st.sampled_from([1, 3, 7]), st.integers(1, 9))
def test_nearest_equals_a_sort_of_all_scores_whatever_the_blocks(points, block, top):
    gallery = COMPASS[points]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_ROWS", block)
        cosines, rows = nearest(QUERIES, gallery, top)
    for i, query in enumerate(QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)):
        scores = gallery @ query
        order = sorted(range(7), key=lambda row: (-scores[row], row))[:top]
        assert rows[i].tolist() == order
        assert cosines[i].tolist() == scores[order].tolist()


def test_at_most_the_whole_gallery_is_found():
    cosines, rows = nearest(QUERIES, COMPASS, 99)
    assert cosines.shape == rows.shape == (2, 5)


@pytest.mark.parametrize(("block", "queries"), [(7, 60), (99, 59), (60, 7)])
def test_every_row_of_a_bank_finds_itself_first(test_banks, monkeypatch, block, queries):
    best, sizes = search._best, []
    record = lambda q, b, top: sizes.append((len(q), len(b))) or best(q, b, top)  # noqa: E731
    monkeypatch.setattr(search, "_best", record)
    monkeypatch.setattr(search, "BLOCK_ROWS", block)
    monkeypatch.setattr(search, "QUERY_ROWS", queries)
    bank = test_banks["imagebind", "text"]
    cosines, rows = nearest(bank[:], bank, 3)
    assert np.max(sizes, axis=0).tolist() == [min(queries, 60), min(block, 60)]
    np.testing.assert_array_equal(rows[:, 0], np.arange(60))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-6)


def test_queries_of_another_space_are_refused():
    with pytest.raises(FreeBindError, match=r"differ in dimension\n.*2 columns\n.*3 columns"):
        nearest(np.ones((1, 3), np.float32), COMPASS, 1)


@pytest.mark.parametrize(
    ("queries", "top", "says"),
    [
        ([[np.nan, 0]], 1, "a query is NaN or infinite"),
        ([[1, 0], [0, 0]], 1, r"a query is zero\n.*row 1"),
        ([[1, 0]], 0, "search top must be positive"),
    ],
)
def test_searches_that_mean_nothing_are_refused(queries, top, says):
    with pytest.raises(FreeBindError, match=says):
        nearest(np.array(queries, np.float32), np.eye(2, dtype=np.float32), top)
