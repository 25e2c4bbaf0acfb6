import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.banks import Concatenated
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import nearest, search

COMPASS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.6, 0.8]], np.float32)
QUERIES = np.array([[2e30, 0], [0, -5e-42]], np.float32)  # east and south, of any norm

galleries = st.lists(st.sampled_from(range(5)), min_size=7, max_size=7)


@settings(deadline=None, max_examples=40)
@given(galleries, st.sampled_from([1, 3, 7]), st.integers(1, 9))
def test_nearest_equals_a_sort_of_all_scores_whatever_the_blocks(points, block, top):
    gallery = COMPASS[points]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_ROWS", block)
        patch.setattr(search, "QUERY_ROWS", 1)
        cosines, rows = nearest(QUERIES, gallery * 8.0 ** (np.arange(-300, 400, 100)[:, None]), top)
    for i, query in enumerate(np.float32([[1, 0], [0, -1]])):
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
    assert cosines.max() <= 1


@settings(deadline=None, max_examples=20)
@given(galleries, st.integers(0, 7), st.sampled_from([1, 3, 7]))
def test_galleries_are_searched_as_one(points, cut, block):
    gallery = COMPASS[points]
    both = Concatenated([gallery[:cut], gallery[cut:]], 2, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_ROWS", block)
        found, wanted = nearest(QUERIES, both, 4), nearest(QUERIES, gallery, 4)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_queries_of_another_space_are_refused():
    with pytest.raises(FreeBindError, match=r"differ in dimension\n.*2 columns\n.*3 columns"):
        nearest(np.ones((1, 3), np.float32), COMPASS, 1)


EAST = [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("queries", "gallery", "top", "says"),
    [
        ([*EAST, [np.nan, 0]], EAST, 1, r"NaN or infinite rows\n.*queries\n.*\n.*row 1\n"),
        ([*EAST, *EAST, [0.0, 0]], EAST, 1, r"zero rows\n.*queries\n.*\n.*row 2\n"),
        (EAST, [*EAST, *EAST, [0.0, 0]], 1, r"zero rows\n.*gallery\n.*\n.*row 2\n"),
        (EAST, [*EAST, *EAST, [np.inf, 0]], 1, r"infinite rows\n.*gallery\n.*\n.*row 2\n"),
        ([[1, 0]], EAST, 1, r"queries\n.*\[n, d\] floats\n.*int64"),
        (EAST, [[1j, 0]], 1, r"gallery\n.*\[n, d\] floats\n.*complex128"),
        (EAST[0], EAST, 1, r"queries\n.*\[n, d\] floats\n.*\[2\]"),
        (EAST, EAST, 0, r"search top is out of range\n.*whole number, 1 to 1048576\n.*0"),
        (EAST, EAST, True, "search top is out of range"),
    ],
)
def test_searches_that_mean_nothing_are_refused(queries, gallery, top, says, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_ROWS", 2)
    with pytest.raises(FreeBindError, match=says):
        nearest(np.array(queries), np.array(gallery), top)
