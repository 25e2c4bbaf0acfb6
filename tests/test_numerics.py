from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from twin import error

from fb_jax.errors import FreeBindError
from fb_jax.numerics import matmul, normalised


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
    product = matmul(jnp.asarray(x), jnp.asarray(y))
    assert product.dtype == dtype
    assert error(product, x.astype(np.longdouble) @ y) < 10 * np.finfo(dtype).eps


def rounded(x):
    """x in bfloat16, as float64."""
    return x.astype(ml_dtypes.bfloat16).astype(np.float64)


def test_half_precision_rounds_its_operands_and_sums_in_single():
    x, y = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    product = jax.jit(partial(matmul, precision="bf16"))(x, y)
    assert product.dtype == np.float32
    assert error(product, rounded(x) @ rounded(y)) < 1e-6
    assert error(product, np.float64(x) @ y) > 1e-4  # the rounding is there
    long = jnp.array([[1.0] + [2.0**-10] * 64] * 2)  # stays 1 in a bfloat16 sum
    assert (matmul(long, jnp.ones((65, 2)), "bf16") == 1 + 2**-4).all()


@pytest.mark.parametrize("across", [jax.jit, jax.vmap], ids=["one", "a batch"])
def test_half_precision_holds_backward_too(across):
    """The gradient of sum(c * (x y)) is c y^T and x^T c, operands in bfloat16."""
    rng = np.random.default_rng(1)
    x, y, c = (rng.normal(size=(3, 8, 8)).astype(np.float32) for _ in range(3))
    loss = lambda x, y, c: (c * matmul(x, y, "bf16")).sum()  # noqa: E731
    gradient = jax.grad(loss, (0, 1))
    if across is jax.vmap:
        found = across(gradient)(x, y, c)
    else:
        found = [np.stack(g) for g in zip(*map(across(gradient), x, y, c), strict=True)]
    swap = lambda a: rounded(a).transpose(0, 2, 1)  # noqa: E731
    for ours, wanted in zip(found, (rounded(c) @ swap(y), swap(x) @ rounded(c)), strict=True):
        assert error(ours, wanted) < 1e-6


def test_a_single_row_can_be_multiplied_in_half_precision():
    assert matmul(jnp.ones((1, 4)), jnp.ones((4, 3)), "bf16").shape == (1, 3)


def test_tensor_float_on_a_cpu_is_refused_in_words():
    with pytest.raises(FreeBindError, match="tf32 needs a GPU"):
        jax.jit(partial(matmul, precision="tf32"))(jnp.ones((2, 2)), jnp.ones((2, 2)))
