from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin import PARITY, error, load, mixture, named, to_torch

from fb_jax.numerics import normalised
from fb_jax.projector import (
    Projector,
    fold,
    init_mixture,
    mean_output,
    project_members,
    subset_name,
    subsets,
)

PROJECTOR, D_IN = Projector(10, 24), 12
init = jax.jit(init_mixture, static_argnums=(0, 2, 3))


@pytest.fixture
def variables(dtype):
    """Seven members with running statistics of their own."""
    rng, made = np.random.default_rng(0), init(PROJECTOR, jax.random.key(0), D_IN, 7)
    return jax.tree.map(lambda x: x + rng.uniform(0, 0.2, x.shape).astype(dtype), made)


@pytest.fixture
def x(dtype):
    rows = np.random.default_rng(1).normal(size=(9, D_IN))
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(dtype)


def twins(variables):
    return [load(named(variables, member)) for member in range(7)]


def test_every_member_is_a_projector_of_its_own(dtype, variables, x):
    outputs = project_members(PROJECTOR, variables, jnp.asarray(x))
    assert outputs.shape == (7, 9, 10)
    for output, twin in zip(outputs, twins(variables), strict=True):
        assert error(output, twin.eval()(to_torch(x))) < PARITY[dtype]


def test_the_mixture_is_the_direction_of_the_mean_of_its_members(dtype, variables, x):
    output = normalised(jnp.asarray(mean_output(fold(variables), x)))
    assert output.dtype == dtype
    assert error(output, mixture(twins(variables), to_torch(x))) < PARITY[dtype]


def test_first_members_all_differ_and_each_fills_the_bounds_of_xavier():
    params = init(PROJECTOR, jax.random.key(0), D_IN, 7).params
    for layer, fans in (("linear_in", 12 + 24), ("linear_out", 24 + 10)):
        kernels, bound = params[layer]["kernel"], np.sqrt(6 / fans)
        assert len({kernel.tobytes() for kernel in np.asarray(kernels)}) == 7
        widest = np.abs(kernels).max(axis=(1, 2))
        assert ((0.9 * bound < widest) & (widest <= bound * (1 + 1e-6))).all()


def test_first_members_come_back_with_their_seed_and_only_with_it():
    first, again, other = (
        jax.tree.leaves(init(PROJECTOR, jax.random.key(seed), D_IN, 7).params) for seed in (0, 0, 1)
    )
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_there_is_a_member_for_every_non_empty_subset_small_ones_first(count):
    starts = ("text", "image", "audio", "depth")[:count]
    found = subsets(starts)
    assert len(found) == len(set(found)) == 2**count - 1
    assert all(subset and set(subset) <= set(starts) for subset in found)
    assert all(len(left) <= len(right) for left, right in pairwise(found))
    assert found[-1] == starts


def test_members_are_named_by_their_starts():
    assert list(map(subset_name, subsets(["text", "image", "audio"]))) == [
        *("text", "image", "audio"),
        *("text+image", "text+audio", "image+audio"),
        "text+image+audio",
    ]
