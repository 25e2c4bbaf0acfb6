import numpy as np
import pytest

from fb_jax.evaluation import KS, Bootstrap, retrieval
from fb_jax.evaluation.metrics import ACCURACIES, MAP
from fb_jax.evaluation.retrieval import class_samples, retrieval_samples


def rows(*values) -> np.ndarray:
    return np.array(values, np.float32)


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


def test_precision_of_both_directions_by_hand():
    found = retrieval(LEFT, RIGHT, PAIRS, ("a", "b"), ["mAP@10"])
    forth = ((1 / 2) + (1 / 2) + (1 / 2 + 2 / 3) / 2) / 3  # everybody's best is nobody's pair
    back = ((1 + 1) / 2 + (1 + 1) / 2) / 2
    assert found["mAP@10 a->b"] == pytest.approx(100 * forth)
    assert found["mAP@10 b->a"] == pytest.approx(100 * back)
    assert found["mAP@10"] == pytest.approx(50 * (forth + back))


# Resamples


def captions(count, each, seed=0):
    """Recordings with captions, and a space that matches some of them."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(count, 4)).astype(np.float32)
    right = np.repeat(left, each, axis=0) + 1.5 * rng.normal(size=(count * each, 4))
    pairs = np.stack([np.repeat(np.arange(count), each), np.arange(count * each)], axis=1)
    return left, right.astype(np.float32), pairs


def test_a_recording_is_drawn_with_its_captions_and_the_gallery_stays():
    left, right, pairs = captions(7, 3)
    bootstrap = Bootstrap(resamples=20, seed=3)
    found = retrieval_samples(left, right, pairs, ("a", "t"), ["R@1", "median rank"], bootstrap)
    scores = left @ right.T
    own = scores[np.repeat(np.arange(7), 3), np.arange(21)].reshape(7, 3)
    forth = (scores > own.max(axis=1, keepdims=True)).sum(axis=1)
    back = (scores > own.ravel()[None, :].reshape(1, -1)).sum(axis=0).reshape(7, 3)
    for number, times in enumerate(bootstrap.draws(7)):
        sides = np.repeat(forth, times), np.repeat(back, times, axis=0).ravel()
        recalls = [100 * np.mean(side < 1) for side in sides]
        medians = [np.median(side) + 1 for side in sides]
        assert found["R@1"][number] == pytest.approx(np.mean(recalls))
        assert found["R@1 a->t"][number] == pytest.approx(recalls[0])
        assert found["median rank"][number] == pytest.approx(np.mean(medians))


def test_the_first_sample_is_the_figure_and_samples_of_one_seed_are_the_same():
    sides, names = captions(9, 2), ("a", "t")
    one, two, other = (
        retrieval_samples(*sides, names, ["R@1"], Bootstrap(30, seed))["R@1"] for seed in (1, 1, 2)
    )
    assert one[0] == retrieval(*sides, names, ["R@1"])["R@1"]
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[1:], other[1:])


# Classes


def test_accuracies_are_those_of_sklearn():
    from sklearn.metrics import top_k_accuracy_score

    rng = np.random.default_rng(0)
    items, classes = (rng.normal(size=(n, 5)).astype(np.float32) for n in (80, 9))
    labels = rng.integers(9, size=80)
    table = np.stack([np.arange(80), labels], axis=1)
    found = class_samples(items, classes, table, ACCURACIES, Bootstrap(0))
    for k in (1, 5):
        wanted = top_k_accuracy_score(labels, items @ classes.T, k=k, labels=np.arange(9))
        assert found[f"top-{k}"] == pytest.approx(100 * wanted)


def test_resampled_items_count_in_accuracy_and_in_precision():
    from sklearn.metrics import average_precision_score, top_k_accuracy_score

    rng = np.random.default_rng(1)
    items, classes = (rng.normal(size=(n, 5)).astype(np.float32) for n in (30, 7))
    labels = np.stack([np.arange(30), rng.integers(7, size=30)], axis=1)
    bootstrap, scores = Bootstrap(10), items @ classes.T
    found = class_samples(items, classes, labels, ["top-1", MAP], bootstrap)
    right = np.zeros((30, 7), int)
    right[labels[:, 0], labels[:, 1]] = 1
    for number, times in enumerate(bootstrap.draws(30)):
        hits = top_k_accuracy_score(
            labels[:, 1], scores, k=1, labels=np.arange(7), sample_weight=times
        )
        assert found["top-1"][number] == pytest.approx(100 * hits)
        there = np.flatnonzero(times @ right)  # a class that is not drawn is left out
        precisions = [
            average_precision_score(right[:, c], scores[:, c], sample_weight=times) for c in there
        ]
        assert found[MAP][number] == pytest.approx(100 * np.mean(precisions))
