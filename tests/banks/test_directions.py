import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fb_jax.banks import find_bad_rows, unit_rows

ROWS = np.float32([[3, -4], [0, 5], [-7, 1], [1, 3]])


def plain(rows):
    """Unit rows without care for the range of float32."""
    rows = np.array(rows, np.float32, order="C")
    return rows / np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]


@settings(deadline=None, max_examples=50)
@given(npst.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=16)))
def test_unit_rows_have_length_one_and_their_direction_and_zero_stays_zero(rows):
    length = np.linalg.norm(rows, axis=1)
    unit = unit_rows(rows)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), length > 0, rtol=1e-5)
    np.testing.assert_allclose(unit * length[:, None], rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "size"), [("f2", 1), ("f2", 3e-4), ("f4", 1), ("f4", 1e12), ("f8", 1e-12)]
)
def test_ordinary_rows_have_the_bits_of_the_plain_formula(dtype, size):
    rows = (size * np.random.default_rng(0).normal(size=(300, 65))).astype(dtype)
    np.testing.assert_array_equal(unit_rows(rows), plain(rows), strict=True)
    beside = unit_rows(np.concatenate([rows, np.ldexp(np.ones((1, 65), "f4"), 90)]))
    np.testing.assert_array_equal(beside[:-1], plain(rows), strict=True)


@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [("f2", -24), ("f2", 12), ("f4", -149), ("f4", 124), ("f8", -1074), ("f8", 1020), ("f8", -149)],
)
def test_a_power_of_two_changes_no_bit_up_to_the_ends_of_every_format(dtype, exponent):
    rows = np.ldexp(ROWS.astype(dtype), exponent)
    np.testing.assert_array_equal(np.ldexp(rows.astype("f8"), -exponent), ROWS)  # none was rounded
    np.testing.assert_array_equal(unit_rows(rows), plain(ROWS), strict=True)
    assert not np.concatenate(list(find_bad_rows(rows).values())).size


def test_extreme_rows_equal_their_twin_in_float64_and_entries_may_lie_far_apart():
    rows = np.random.default_rng(0).normal(size=(40, 33)) * 10.0 ** np.arange(-38, 42, 2)[:, None]
    twin = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_rows(rows), twin, rtol=1e-6)
    assert unit_rows(np.array([[1e300, 1e-300], [1e-300, 0]])).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_rows_without_a_direction_are_found_among_extreme_ones(dtype):
    low, high = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    rows = [[0, low], [0, 0], [high, -high], [high, np.inf], [low, np.nan], [-np.inf, 0], [-0.0, 0]]
    found = find_bad_rows(np.array(rows, dtype))
    assert {kind: bad.tolist() for kind, bad in found.items()} == {
        "NaN or infinite": [3, 4, 5],
        "zero": [1, 6],
    }
    unit = unit_rows(np.array(rows, dtype))
    np.testing.assert_allclose(unit[[0, 2]], [[0, 1], [0.5**0.5, -(0.5**0.5)]], rtol=1e-6)
    assert not unit[[1, 6]].any()
    assert np.isnan(unit[3:6]).any(axis=1).all()
