import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.projector import Projector, Variables, fold, init_mixture, mean_output, project_members
from fb_jax.projector.fold import MAX_ROWS, MIN_ROWS, _mean_output

D_IN, HIDDEN, D_OUT = 12, 24, 10
PROJECTOR = Projector(D_OUT, HIDDEN)


@pytest.fixture(scope="module")
def variables():
    """Seven members, every number drawn: none is what training starts from."""
    rng, made = np.random.default_rng(0), init_mixture(PROJECTOR, jax.random.key(0), D_IN, 7)
    draw = lambda low: lambda x: rng.uniform(low, 1.5, x.shape).astype(np.float32)  # noqa: E731
    return Variables(
        jax.tree.map(draw(-1.5), made.params), jax.tree.map(draw(0.3), made.batch_stats)
    )


def unit_rows(count):
    rows = np.random.default_rng(1).normal(size=(count, D_IN))
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)


def twin(variables, x):
    """Member by member in float64, BatchNorm as it is written in the module."""
    outputs = []
    for member in range(7):
        params, stats = jax.tree.map(lambda leaf, i=member: np.float64(leaf[i]), tuple(variables))
        y = np.float64(x)
        for place in ("in", "out"):
            norm, running = params[f"norm_{place}"], stats[f"norm_{place}"]
            y = y @ params[f"linear_{place}"]["kernel"]
            y = (y - running["mean"]) / np.sqrt(running["var"] + 1e-5) * norm["scale"]
            y = y + norm["shift"]
            y = np.maximum(y, 0) if place == "in" else y
        outputs.append(y / np.linalg.norm(y, axis=1, keepdims=True))
    return np.mean(outputs, axis=0)


def test_folded_members_equal_the_unfolded_ones_and_their_float64_twin(variables):
    x = unit_rows(33)
    found = mean_output(fold(variables), x)
    unfolded = np.mean(project_members(PROJECTOR, variables, jnp.asarray(x)), axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unfolded, atol=1e-6)
    np.testing.assert_allclose(found, twin(variables, x), atol=1e-6)


def test_one_member_by_hand():
    """x = 3: (3 * 2 - 1) / 2 * 3 + 0.5 = 8; relu; 8 * -1 - 4 = -12, over 4, + 1 = -2."""
    leaf = lambda *numbers: np.array([numbers], np.float32)  # noqa: E731
    params = {
        "linear_in": {"kernel": leaf([2])},
        "norm_in": {"scale": leaf(3), "shift": leaf(0.5)},
        "linear_out": {"kernel": leaf([-1])},
        "norm_out": {"scale": leaf(1), "shift": leaf(1)},
    }
    stats = {
        "norm_in": {"mean": leaf(1), "var": leaf(4 - 1e-5)},
        "norm_out": {"mean": leaf(4), "var": leaf(16 - 1e-5)},
    }
    folded = fold(Variables(params, stats))
    affine = [np.asarray(x).item() for layer in zip(*folded, strict=True) for x in layer]
    np.testing.assert_allclose(affine, [2 * 1.5, 0.5 - 1.5, -0.25, 1 - 1], atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, MAX_ROWS - 1, MAX_ROWS, MAX_ROWS + 1])
def test_rows_do_not_depend_on_how_many_come_with_them(variables, count):
    x, folded = unit_rows(MAX_ROWS + 1), fold(variables)
    found = mean_output(folded, x[:count])
    assert found.shape == (count, D_OUT)
    np.testing.assert_allclose(found, mean_output(folded, x)[:count], atol=1e-6)


def test_few_programs_are_compiled_whatever_numbers_of_rows_come(variables):
    folded, x = fold(variables), unit_rows(2 * MAX_ROWS + 8)
    _mean_output.clear_cache()
    for count in (*range(65), MAX_ROWS, len(x)):
        mean_output(folded, x[:count])
    assert _mean_output._cache_size() == len([MIN_ROWS, 16, 32, 64, MAX_ROWS])
