import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_jax.banks import unit_rows
from fb_jax.evaluation import retrieval
from fb_jax.evaluation.surfaces import bilinear
from fb_jax.evaluation.surfaces.bilinear import Mixture, recall_surface

GRID = np.array([0.0, 0.25, 0.5, 1.0], np.float32)


def mixture(*components):
    stacked = np.stack(components).astype(np.float32)
    shares = np.stack([1 - GRID, GRID], axis=1) if len(components) == 2 else np.ones((1, 1))
    squares = np.einsum("ind,jnd->ijn", stacked, stacked)
    norms = np.sqrt(np.einsum("gi,gj,ijn->gn", shares, shares, squares))
    return Mixture(stacked, shares.astype(np.float32), norms.astype(np.float32))


def rows_at(mixed, point):
    return unit_rows(np.einsum("c,cnd->nd", mixed.shares[point], mixed.components))


@given(seed=st.integers(0, 10_000), one=st.sampled_from([(), (0,), (1,), (0, 1)]))
@settings(deadline=None, max_examples=15)
def test_the_surface_is_retrieval_at_every_pair_of_factors(seed, one):
    """Also for many-to-many pairs and repeated rows, whose scores are equal."""
    rng = np.random.default_rng(seed)
    draw = lambda count: np.round(2 * rng.normal(size=(count, 3)) + 0.3) + 0.25  # noqa: E731
    sides = [
        mixture(draw(count)) if i in one else mixture(draw(count), draw(count))
        for i, count in enumerate((7, 9))
    ]
    pairs = np.unique(rng.integers(0, (7, 9), (8, 2)), axis=0)
    surface = recall_surface(*sides, pairs)
    assert surface.shape == tuple(len(side.shares) for side in sides)
    for point in np.ndindex(surface.shape):
        left, right = (rows_at(side, i) for side, i in zip(sides, point, strict=True))
        expected = retrieval(left, right, pairs)["R@1"]
        assert surface[point] == pytest.approx(expected, abs=100 / 7)  # ties by rounding


def test_by_hand():
    """The query's unified part prefers item 1, its expert part item 0, which is right."""
    query = mixture([[1.0, 0.0]], [[0.0, 1.0]])
    items = mixture([[0.0, 1.0], [1.0, 0.0]])
    left_to_right = np.array([0, 0, 100, 100])[:, None]  # at 0.5 both are equal: the first wins
    np.testing.assert_array_equal(
        recall_surface(query, items, np.array([[0, 0]])), (left_to_right + 100) / 2
    )
    swapped = mixture([[1.0, 0.0], [0.0, 1.0]])
    strict = np.array([0, 0, 0, 100])[:, None]  # equal to a row before it: it loses
    np.testing.assert_array_equal(
        recall_surface(query, swapped, np.array([[0, 1]])), (strict + 100) / 2
    )


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    sides = [mixture(rng.normal(size=(20, 4)), rng.normal(size=(20, 4))) for _ in range(2)]
    pairs = np.array([[i, (7 * i + j) % 20] for i in range(20) for j in range(2)])
    whole = recall_surface(*sides, pairs)
    monkeypatch.setattr(bilinear, "SCORE_BYTES", 4 * 8 * 20 * 3)
    np.testing.assert_array_equal(recall_surface(*sides, pairs), whole)


def test_blocks_with_other_numbers_of_pairs_are_compiled_once(monkeypatch):
    rng = np.random.default_rng(0)
    sides = [mixture(rng.normal(size=(21, 4)), rng.normal(size=(21, 4))) for _ in range(2)]
    pairs = np.array([[i, j] for i in range(21) for j in range(1 + i % 5)])
    monkeypatch.setattr(bilinear, "SCORE_BYTES", 4 * 8 * 21 * 3)
    bilinear._hits.clear_cache()
    recall_surface(*sides, pairs)
    assert bilinear._hits._cache_size() <= 3  # the last block of one side has fewer queries
