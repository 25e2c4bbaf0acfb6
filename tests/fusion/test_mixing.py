import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.fusion import mixing

NEAR = {"float32": 1e-6, "float64": 1e-14}
SLOPE = {"float32": 1e-5, "float64": 1e-8}  # of a twin by finite differences
TWINS = {  # NumPy, in float64
    "unit": lambda u, e, s: u / np.linalg.norm(u, axis=-1, keepdims=True),
    "weighted_sum": lambda u, e, s: (1 - s) * u + s * e,
    "direct_sum": lambda u, e, s: np.hstack([np.sqrt(1 - s) * u, np.sqrt(s) * e]),
    "side_by_side": lambda u, e, s: np.hstack([u, np.sqrt(s) * e]) / np.sqrt(1 + s),
}
OURS = {
    "unit": lambda u, e, s: mixing.unit(u),
    "weighted_sum": mixing.weighted_sum,
    "direct_sum": mixing.direct_sum,
    "side_by_side": lambda u, e, s: mixing.side_by_side([u, e], [1.0, s]),
}


@pytest.fixture
def parts(dtype):
    """Two device arrays of unit rows, [5, 8] each."""
    rows = np.random.default_rng(0).normal(size=(2, 5, 8))
    return [jnp.asarray(x, dtype) for x in rows / np.linalg.norm(rows, axis=-1, keepdims=True)]


def near(found, wanted, dtype):
    assert isinstance(found, jax.Array)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=NEAR[dtype])


@pytest.mark.parametrize("name", OURS)
def test_a_mix_equals_its_float64_twin_however_it_is_run(parts, dtype, name):
    ours, double = OURS[name], [np.float64(x) for x in parts]
    factors = jnp.asarray([0.2, 0.5, 0.9], dtype)
    wanted = [TWINS[name](*double, s) for s in np.float64(factors)]
    near(ours(*parts, 0.2), TWINS[name](*double, 0.2), dtype)
    near(jax.jit(ours)(*parts, factors[0]), wanted[0], dtype)  # a traced factor
    over_factors = jax.vmap(ours, (None, None, 0))
    near(jax.jit(over_factors)(*parts, factors), wanted, dtype)
    near(jax.vmap(ours, (0, 0, None))(*parts, factors[1]), wanted[1], dtype)  # row by row


@pytest.mark.parametrize("name", OURS)
def test_the_gradient_of_a_mix_is_the_slope_of_its_twin(parts, dtype, name):
    """Along a random direction in both parts and the factor at once."""
    rng = np.random.default_rng(1)
    weights, inputs = rng.normal(size=(5, 16)), [*map(np.float64, parts), np.float64(0.3)]
    along = [rng.normal(size=x.shape) for x in inputs]
    score = lambda mix: (mix * weights[:, : mix.shape[1]]).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(lambda *args: score(OURS[name](*args)), (0, 1, 2)))
    found = gradient(*parts, jnp.asarray(0.3, dtype))
    at = lambda h: score(TWINS[name](*(x + h * d for x, d in zip(inputs, along, strict=True))))  # noqa: E731
    slope = sum((np.float64(g) * d).sum() for g, d in zip(found, along, strict=True))
    assert slope == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, abs=SLOPE[dtype])


@pytest.mark.parametrize("name", OURS)
def test_single_precision_stays_single_where_double_is_enabled(name):
    with jax.enable_x64(True):
        rows = jnp.eye(2, dtype=np.float32)
        assert OURS[name](rows, rows, 0.5).dtype == np.float32


def test_the_factor_can_be_learned():
    """Gradient descent finds the factor at which a target was mixed."""
    unified, expert = jnp.eye(2)[:1], jnp.eye(2)[1:]
    target = mixing.unit(mixing.weighted_sum(unified, expert, 0.7))
    loss = lambda s: -(mixing.unit(mixing.weighted_sum(unified, expert, s)) * target).sum()  # noqa: E731
    step = jax.jit(lambda _, s: s - 0.3 * jax.grad(loss)(s))
    assert jax.lax.fori_loop(0, 200, step, 0.2) == pytest.approx(0.7, abs=1e-4)


def test_blocks_share_a_row_by_their_weights():
    x, y = jnp.eye(2)[:, None]
    found = mixing.direct_sum(x, y, 0.25)
    np.testing.assert_allclose(found, [[np.sqrt(0.75), 0, 0, 0.5]], atol=1e-7)
    found = mixing.side_by_side([x, y, x], [1.0, 1.0, 2.0])
    np.testing.assert_allclose(found, [[0.5, 0, 0, 0.5, np.sqrt(0.5), 0]], atol=1e-7)
