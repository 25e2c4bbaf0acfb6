import numpy as np
import pytest

from fb_jax.banks import unit_rows
from fb_jax.evaluation.diagnosis.geometry import cka, gap


def rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_the_cka_of_a_space_with_itself_is_one_whatever_rotation_scale_and_shift():
    x = rows(50, 4)
    rotation = np.linalg.qr(rows(4, 4, 1))[0]
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, (3 * x @ rotation + 2).astype(np.float32)) == pytest.approx(1, abs=1e-5)


def test_the_cka_is_that_of_the_centred_gram_matrices():
    x, y = rows(30, 4), rows(30, 7, 1)
    centre = np.eye(30) - 1 / 30
    k, m = (centre @ z.astype(np.float64) @ z.T @ centre for z in (x, y))
    assert cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_unrelated_spaces_of_many_items_have_a_cka_near_zero():
    assert cka(rows(3000, 4), rows(3000, 4, 1)) < 0.01


def test_rows_that_do_not_differ_have_none():
    assert cka(np.ones((5, 3), np.float32), rows(5, 3)) == 0


def test_the_gap_is_the_distance_of_the_means():
    left, right = np.float32([[1, 0], [0, 1]]), np.float32([[-1, 0], [0, -1]])
    assert gap(left, right) == pytest.approx(np.sqrt(2))
    assert gap(left, left[::-1]) == 0


def test_the_gap_of_opposite_modalities_is_two():
    one = unit_rows(np.ones((3, 4)))
    assert gap(one, -one) == pytest.approx(2)
