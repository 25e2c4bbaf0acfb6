import numpy as np
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Positives, of_all_positives
from fb_jax.evaluation.metrics import measure, require_metric
from fb_jax.registry import METRICS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("R@1", 25.0),
        ("R@5", 75.0),
        ("R@10", 100.0),
        ("median rank", 3.5),
        ("top-1", 25.0),
        ("top-5", 75.0),
        ("MRR", 100 * (1 + 1 / 2 + 1 / 5 + 1 / 10) / 4),
    ],
)
def test_metrics_of_ranks_by_hand(name, value):
    assert METRICS.get(name)(np.array([0, 1, 4, 9])) == pytest.approx(value)


def test_precision_among_the_first_10_by_hand():
    query = np.array([0, 0, 1, 2, 2, 2, *[3] * 12])
    rank = np.array([0, 2, 10, 1, 5, 99, *range(12)])
    found = METRICS.get("mAP@10")(Positives(query, rank))
    wanted = [(1 + 2 / 3) / 2, 0, (1 / 2 + 2 / 6) / 3, 1]  # of 12 positives the first 10 are enough
    np.testing.assert_allclose(found, 100 * np.array(wanted))


@pytest.mark.parametrize("positives", [1, 3, 15])
def test_precision_among_the_first_10_of_10_items_is_that_of_sklearn(positives):
    from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

    rng = np.random.default_rng(positives)
    scores, right = rng.normal(size=(20, 10)), np.zeros((20, 10), int)
    right[:, : min(positives, 10)] = 1
    order = np.argsort(-scores, axis=1)
    query, rank = np.nonzero(np.take_along_axis(right, order, axis=1))
    found = METRICS.get("mAP@10")(Positives(query, rank))
    wanted = [average_precision_score(*one) for one in zip(right, scores, strict=True)]
    np.testing.assert_allclose(found, 100 * np.array(wanted))
    assert np.mean(found) == pytest.approx(
        100 * label_ranking_average_precision_score(right, scores)
    )


def test_a_query_counts_as_often_as_it_is_drawn():
    positives = Positives(np.array([0, 1, 2]), np.array([0, 1, 9]))
    times = np.array([3, 0, 1])
    assert measure("R@1", positives).of(times) == 75
    assert measure("median rank", positives).of(times) == 1
    assert measure("mAP@10", positives).of(times) == pytest.approx(100 * (3 + 1 / 10) / 4)


def test_ones_own_metric_may_take_all_positives():
    @METRICS.register("worst is first")
    @of_all_positives
    def worst(positives):
        return np.maximum.reduceat(positives.rank, positives.first) == 0

    try:
        positives = Positives(np.array([0, 0, 1]), np.array([0, 1, 0]))
        assert measure("worst is first", positives).of() == 0.5
    finally:
        del METRICS._methods["worst is first"]


def test_a_metric_that_gives_no_number_is_refused():
    METRICS.register("wordy")(lambda ranks: "many")
    try:
        with pytest.raises(FreeBindError, match=r"a metric does not fit(.|\n)*wordy"):
            require_metric("wordy")
    finally:
        del METRICS._methods["wordy"]
