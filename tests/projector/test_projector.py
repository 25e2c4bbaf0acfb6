from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin import PARITY, error, load, named, numbers, to_torch

from fb_jax.projector import BatchNorm, BondSpec, End, Projector, fold, init_projector
from fb_jax.projector.fold import _mean_output

D_IN, HIDDEN, D_OUT = 12, 24, 10
PROJECTOR = Projector(D_OUT, HIDDEN)
init = jax.jit(init_projector, static_argnums=(0, 2))


@pytest.fixture
def variables(dtype):
    """First variables, moved away from where scales are one, shifts and means zero."""
    rng, made = np.random.default_rng(0), init(PROJECTOR, jax.random.key(0), D_IN)
    return jax.tree.map(lambda x: x + rng.uniform(0, 0.2, x.shape).astype(dtype), made)


@pytest.fixture
def batches(dtype):
    """Three batches of unit rows."""
    rng = np.random.default_rng(1)
    batches = [rng.normal(size=(size, D_IN)) + 0.5 for size in (8, 8, 5)]
    return [(x / np.linalg.norm(x, axis=1)[:, None]).astype(dtype) for x in batches]


@partial(jax.jit, static_argnames="train")
def forward(variables, x, train):
    """The outputs, and the variables after the batch."""
    collections = variables.collections()
    output, changed = PROJECTOR.apply(collections, x, train=train, mutable=["batch_stats"])
    return output, variables._replace(batch_stats=changed["batch_stats"])


def test_evaluation_is_what_torch_computes_and_changes_nothing(dtype, variables, batches):
    twin, before = load(named(variables)).eval(), jax.tree.leaves(variables)
    for x in batches:
        output, variables = forward(variables, jnp.asarray(x), train=False)
        assert output.dtype == dtype
        assert error(output, twin(to_torch(x))) < PARITY[dtype]
    assert all(map(np.array_equal, jax.tree.leaves(variables), before))


def test_training_is_what_torch_computes_and_so_are_the_running_statistics(
    dtype, variables, batches
):
    twin = load(named(variables)).train()
    for x in batches:
        output, variables = forward(variables, jnp.asarray(x), train=True)
        assert error(output, twin(to_torch(x))) < PARITY[dtype]
    found = named(variables)
    for name, wanted in numbers(twin).items():
        assert error(found[name], wanted) < PARITY[dtype], name


@pytest.mark.parametrize(("precision", "count"), [("float32", 0), ("bf16", 4)])
def test_precision_is_that_of_the_operands_of_both_linears(variables, batches, precision, count):
    member, x = Projector(D_OUT, HIDDEN, precision), jnp.asarray(batches[0])
    programs = [
        jax.make_jaxpr(member.apply)(variables.collections(), x),
        jax.make_jaxpr(partial(_mean_output, precision=precision))(
            fold(jax.tree.map(lambda leaf: leaf[None], variables)), x
        ),
    ]
    assert [str(program).count("reduce_precision[") for program in programs] == [count, count]


def test_running_statistics_move_by_a_tenth_and_the_variance_is_unbiased():
    norm, x = BatchNorm(), jnp.array([[1.0], [5.0]])  # mean 3, biased variance 4, unbiased 8
    first = norm.init(jax.random.key(0), x, train=True)
    assert first["batch_stats"] == {"mean": 0, "var": 1}
    output, changed = norm.apply(first, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(output, [[-1], [1]], atol=1e-5)
    assert changed["batch_stats"]["mean"].item() == pytest.approx(0.1 * 3)
    assert changed["batch_stats"]["var"].item() == pytest.approx(0.9 * 1 + 0.1 * 8)


@pytest.mark.parametrize("train", [False, True])
def test_outputs_are_unit_rows_also_of_a_zero_row(variables, batches, train):
    output, _ = forward(variables, jnp.asarray(batches[0]).at[3].set(0), train=train)
    np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, rtol=1e-5)


def test_a_batch_of_zero_rows_stays_zero_and_leaves_gradients_finite():
    variables = init(PROJECTOR, jax.random.key(0), D_IN)

    @jax.jit
    @jax.value_and_grad
    def total(params):
        return forward(variables._replace(params=params), jnp.zeros((8, D_IN)), train=True)[0].sum()

    value, gradients = total(variables.params)
    assert value == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_first_weights_fill_the_bounds_of_xavier():
    params = init(Projector(100, 300), jax.random.key(0), 200).params
    for layer, fans in (("linear_in", 200 + 300), ("linear_out", 300 + 100)):
        bound, kernel = np.sqrt(6 / fans), np.asarray(params[layer]["kernel"])
        assert 0.99 * bound < np.abs(kernel).max() <= bound * (1 + 1e-6)
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert abs(kernel.mean()) < 0.02 * bound


@pytest.mark.parametrize(
    ("d_in", "hidden", "d_out", "count"),
    [(1, 1, 1, 6), (512, 2048, 1024, 3_151_872), (1024, 2048, 768, 3_675_648)],
)
def test_parameters_are_two_kernels_two_scales_and_two_shifts(d_in, hidden, d_out, count):
    first = partial(init_projector, Projector(d_out, hidden), dim=d_in)
    params = jax.eval_shape(first, jax.random.key(0)).params
    found = {f"{layer}.{name}" for layer, leaves in params.items() for name in leaves}
    assert found == {"linear_in.kernel", "norm_in.scale", "norm_in.shift"} | {
        *("linear_out.kernel", "norm_out.scale", "norm_out.shift")
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    ends = End("u", ("text", "image"), d_in), End("e", ("text", "image"), d_out)
    assert BondSpec.between("displacement", *ends, hidden).parameters == count
