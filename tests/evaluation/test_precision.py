import numpy as np
import pytest

from fb_jax.evaluation.precision import average_precision, average_precisions


def precision(scores, right, times=None):
    """Return the precision of one class whose scores are given."""
    items = np.array(scores, np.float32)[:, None]
    labels = np.stack([np.flatnonzero(right), np.zeros(int(np.sum(right)), int)], axis=1)
    times = np.ones((len(items), 1), np.uint8) if times is None else times
    return average_precisions(items, np.ones((1, 1), np.float32), labels, times)[:, 0]


@pytest.mark.parametrize(
    ("scores", "right", "wanted"),
    [
        ([4, 3, 2, 1], [1, 0, 0, 0], 1),
        ([4, 3, 2, 1], [0, 0, 0, 1], 1 / 4),
        ([4, 3, 2, 1], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([4, 3, 2, 1], [0, 1, 1, 0], (1 / 2 + 2 / 3) / 2),
        ([4, 3, 2, 1], [1, 1, 1, 1], 1),
        # Of equal scores the lower row ranks first.
        ([1, 1], [1, 0], 1),
        ([1, 1], [0, 1], 1 / 2),
        ([1, 2, 1, 1], [0, 0, 1, 0], 1 / 3),
        ([1, 2, 1, 1], [1, 0, 0, 1], (1 / 2 + 2 / 4) / 2),
    ],
)
def test_precision_by_hand(scores, right, wanted):
    assert precision(scores, right) == pytest.approx(100 * wanted)
    of_one = average_precision(np.float32(scores), np.flatnonzero(right))
    assert of_one == pytest.approx(100 * wanted)


def test_a_score_that_is_no_number_counts_against_its_class():
    nan = np.nan
    assert precision([nan, 2, 1], [1, 0, 0]) == pytest.approx(100 / 3)
    assert precision([3, nan, 1], [1, 0, 0]) == pytest.approx(50)


def test_items_count_as_often_as_they_are_drawn_and_a_class_without_any_has_no_precision():
    times = np.array([[2, 1, 0], [1, 1, 1], [1, 0, 0], [0, 3, 1]], np.uint8)
    found = precision([4, 3, 2, 1], [1, 0, 1, 0], times)
    np.testing.assert_allclose(found, [100 * (2 * 1 + 3 / 4) / 3, 100, np.nan])


@pytest.mark.parametrize("memory", [1, 400, 1 << 28])
def test_precisions_are_those_of_sklearn_in_blocks_of_any_size(memory):
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    items, classes = (rng.normal(size=(n, 6)).astype(np.float32) for n in (50, 8))
    right = rng.random((50, 8)) < 0.2
    times = rng.integers(0, 4, size=(50, 5)).astype(np.uint8)
    found = average_precisions(items, classes, np.argwhere(right), times, memory)
    wanted = [
        [
            average_precision_score(right[:, c], (items @ classes.T)[:, c], sample_weight=weights)
            for c in range(8)
        ]
        for weights in times.T
    ]
    np.testing.assert_allclose(found, 100 * np.array(wanted))
