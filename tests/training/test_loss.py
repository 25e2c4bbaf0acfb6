from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import twin
from twin import PARITY, error, to_torch

from fb_jax.training import TEMPERATURE, bond_loss, info_nce
from fb_jax.training.loss import distillation, own_rows, require_loss

SAME = jnp.eye(1, 6).repeat(9, 0)
"""Nine rows that cannot be told apart: InfoNCE can but guess."""
both_ways = pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "one way"])


def unit(seed, dtype="float32", shape=(9, 6)):
    rows = np.random.default_rng(seed).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(dtype)


@both_ways
def test_info_nce_and_its_gradients_are_what_torch_computes(dtype, symmetric):
    x, y = unit(0, dtype), unit(1, dtype)
    loss = partial(info_nce, symmetric=symmetric)
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(x, y)
    x, y = to_torch(x).requires_grad_(), to_torch(y).requires_grad_()
    wanted = twin.info_nce(x, y, symmetric=symmetric)
    wanted.backward()
    assert value.dtype == dtype
    assert error(value, wanted) < PARITY[dtype]
    for gradient, rows in zip(gradients, (x, y), strict=True):
        assert error(gradient, rows.grad) < PARITY[dtype]


@both_ways
@pytest.mark.parametrize("temperature", [100.0, 0.5, TEMPERATURE, 1e-4])
def test_of_two_orthonormal_rows_the_wrong_one_is_exp_of_minus_one_over_temperature(
    symmetric, temperature
):
    loss = info_nce(jnp.eye(2), jnp.eye(2), temperature=temperature, symmetric=symmetric)
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1 / temperature)), abs=1e-5)


def test_rows_that_cannot_be_told_apart_cost_the_logarithm_of_their_number():
    assert info_nce(SAME, SAME).item() == pytest.approx(np.log(9), rel=1e-5)


def test_the_two_ways_differ_and_symmetric_is_their_mean():
    x, y = map(jnp.asarray, (unit(0), unit(1)))
    one_way = partial(info_nce, symmetric=False)
    assert abs(one_way(x, y) - one_way(y, x)) > 0.1
    assert error(info_nce(x, y), (one_way(x, y) + one_way(y, x)) / 2) < 1e-6


@pytest.mark.parametrize("sign", [1, -1])
def test_the_most_extreme_cosines_stay_finite(sign):
    x = jnp.asarray(unit(0))
    loss, gradient = jax.jit(jax.value_and_grad(info_nce))(x, sign * x)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_losses_are_symmetric_at_one_fiftieth_by_default():
    x, y = unit(0), unit(1)
    assert TEMPERATURE == 1 / 50
    for options in ({}, {"temperature": 100.0}, {"temperature": 0.1}, {"temperature": 1e-4}):
        wanted = twin.info_nce(to_torch(np.float64(x)), to_torch(np.float64(y)), **options)
        loss = info_nce(jnp.asarray(x), jnp.asarray(y), **options)
        assert error(loss, wanted) < 1e-5
        assert bond_loss({"text": jnp.asarray(x)}, {"text": jnp.asarray(y)}, **options) == loss


@pytest.mark.parametrize(("projected", "target"), [("ta", "tva"), ("tva", "ta"), ("t", "v")])
def test_a_bond_loss_has_a_term_for_every_projected_and_every_target_modality(projected, target):
    loss = bond_loss(dict.fromkeys(projected, SAME), dict.fromkeys(target, SAME))
    assert loss.item() == pytest.approx(len(projected) * len(target) * np.log(9), rel=1e-5)


@both_ways
def test_a_bond_loss_is_what_torch_computes(dtype, symmetric):
    projected = {modality: unit(seed, dtype) for seed, modality in enumerate(["text", "audio"])}
    target = {m: unit(seed, dtype) for seed, m in enumerate(["text", "image", "audio"], start=2)}
    options = {"temperature": 0.05, "symmetric": symmetric}
    value = jax.jit(partial(bond_loss, **options))(projected, target)
    rows = [list(map(to_torch, side.values())) for side in (projected, target)]
    assert value.dtype == dtype
    assert error(value, twin.bond_loss(*rows, **options)) < PARITY[dtype]
    half = jax.jit(partial(bond_loss, precision="bf16", **options))(projected, target)
    assert 1e-5 < error(half, value) < 1e-2


@both_ways
def test_soft_targets_of_two_orthonormal_rows_cost_their_entropy(symmetric):
    """Scores like the taught ones: softmax(1, 0) = (s, 1 - s) twice."""
    share = 1 / (1 + np.exp(-1))
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    loss = distillation(jnp.eye(2), jnp.eye(2), jnp.eye(2), temperature=1.0, symmetric=symmetric)
    assert loss.item() == pytest.approx(entropy, rel=1e-5)


@both_ways
def test_targets_that_are_certain_make_it_info_nce(symmetric):
    x, y = map(jnp.asarray, (unit(0), unit(1)))
    loss = distillation(x, y, 100 * jnp.eye(9), symmetric=symmetric)
    assert error(loss, info_nce(x, y, symmetric=symmetric)) < 1e-6


@both_ways
def test_distillation_is_what_torch_computes(dtype, symmetric):
    x, y, taught = unit(0, dtype), unit(1, dtype), unit(2, dtype, (9, 9))
    loss = partial(distillation, temperature=0.1, symmetric=symmetric)
    value, gradient = jax.jit(jax.value_and_grad(loss))(x, y, taught)
    x = to_torch(x).requires_grad_()
    wanted = twin.distillation(x, *map(to_torch, (y, taught)), 0.1, symmetric)
    wanted.backward()
    assert value.dtype == dtype
    assert error(value, wanted) < PARITY[dtype]
    assert error(gradient, x.grad) < PARITY[dtype]


def test_the_loss_of_a_migration_is_the_distance_of_every_row_to_its_own():
    x = {"text": jnp.eye(2), "audio": jnp.eye(2)}
    y = {"text": jnp.array([[1.0, 0], [1, 0]]), "image": jnp.eye(2)}
    assert own_rows(x, y, temperature=0.02, symmetric=True, precision="float32") == 0.5
    require_loss("own_rows")  # any training knows it
