import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from twin import error

from fb_jax.numerics import dot_precision, normalised


@settings(deadline=None, max_examples=25)
@given(npst.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e4, 1e4, width=16)))
def test_rows_get_length_one_and_keep_their_direction(rows):
    length = np.linalg.norm(rows, axis=-1)
    unit = np.asarray(normalised(jnp.asarray(rows)))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), length > 0, rtol=1e-5)
    np.testing.assert_allclose(unit * length[..., None], rows, rtol=1e-5, atol=1e-5)


def test_a_zero_row_stays_zero_and_so_does_its_gradient():
    rows = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(normalised(rows), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    gradient = jax.grad(lambda x: normalised(x).sum())(rows)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[1], [0.032, -0.024], rtol=1e-5)  # (4, -3) (4 - 3) / 125


def test_full_precision_multiplies_in_the_dtype_of_its_inputs(dtype):
    x, y = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(dtype)
    product = jnp.matmul(x, y, precision=dot_precision("float32"))
    assert product.dtype == dtype
    assert error(product, x.astype(np.longdouble) @ y) < 10 * np.finfo(dtype).eps


def test_half_precision_sums_up_in_single():
    """1 + 2^-10 + ... + 2^-10 stays 1 in a bfloat16 sum; the terms themselves are exact in it."""
    rows = jnp.array([[1.0] + [2.0**-10] * 64] * 2)
    product = jnp.matmul(rows, jnp.ones((65, 2)), precision=dot_precision("bf16"))
    assert (product == 1 + 2**-4).all()
