from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import PARITY, error, retrieve, to_torch

from fb_jax.pseudo import TAU, BankStream, KeyBlock, aggregate

module = import_module("fb_jax.pseudo.aggregate")  # the package has a function of this name
KEYS, VALUES = ("unified", "text"), ("expert", "text")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sample(queries, keys, dtype="float32", dims=(16, 12)):
    """Queries near some of the keys, as real ones are; value banks: the keys and another."""
    rng = np.random.default_rng([queries, keys])
    k = unit(rng.normal(size=(keys, dims[0])))
    q = unit(k[rng.integers(keys, size=queries)] + 0.2 * rng.normal(size=(queries, dims[0])))
    v = unit(rng.normal(size=(keys, dims[1])))
    return tuple(x.astype(dtype) for x in (q, k, v))


def soft(q, k, *values, block=32, inner=16, **options):
    """Aggregate over keys in blocks, for every value bank."""
    columns = [("expert", f"{number}") for number in range(len(values))]
    stream = BankStream({KEYS: k, **dict(zip(columns, values, strict=True))}, block_rows=block)
    blocks, dims = stream.blocks(KEYS, columns), [v.shape[1] for v in values]
    return aggregate(jnp.asarray(q), blocks, dims, inner=inner, **options)


def naive(q, k, v, **options):
    return retrieve(*map(to_torch, (q, k, v)), **options)


@pytest.mark.parametrize(
    ("queries", "keys", "block", "inner"),
    [(48, 64, 32, 16), (33, 65, 32, 16), (5, 33, 32, 16), (17, 7, 32, 16), (1, 1, 1, 1)],
    ids=["even", "one over", "few queries", "few keys", "one each"],
)
def test_soft_retrieval_is_the_softmax_over_all_keys(dtype, queries, keys, block, inner):
    q, k, v = sample(queries, keys, dtype)
    outputs = soft(q, k, v, k, block=block, inner=inner)
    for output, values in zip(outputs, (v, k), strict=True):
        assert output.dtype == dtype
        assert error(output, naive(q, k, values)) < PARITY[dtype]


def test_scores_are_held_for_inner_queries_at_a_time():
    q, k, v = map(jnp.asarray, sample(48, 32))
    block = KeyBlock(k, (v,), jnp.asarray(32))
    step = partial(module.add_keys, temperature=0.01, inner=16, precision="float32")
    program = str(jax.make_jaxpr(step)(module.empty_sums(q, [12]), q, block))
    assert "f32[16,32]" in program
    assert "f32[48,32]" not in program


@settings(deadline=None, max_examples=6)
@given(block=st.sampled_from([1, 7, 100]), inner=st.sampled_from([1, 33]))
def test_chunks_change_nothing(block, inner):
    q, k, v = sample(33, 65)
    assert error(*soft(q, k, v, block=block, inner=inner), naive(q, k, v)) < 1e-5


def test_queries_that_are_far_from_every_key_are_completed_all_the_same(dtype):
    rng = np.random.default_rng(0)
    k = unit(np.eye(1, 16) + 0.1 * rng.normal(size=(65, 16))).astype(dtype)
    v, q = sample(1, 65, dtype)[2], -k[:20]
    assert (q @ k.T).max() < -0.5
    assert error(*soft(q, k, v), naive(q, k, v)) < PARITY[dtype]


@pytest.mark.parametrize("place", [0, 40, 64], ids=["first", "middle", "last"])
def test_a_key_that_a_query_meets_exactly_outweighs_all_others(place):
    k = np.repeat(np.float32([[0, 1]]), 65, axis=0)
    k[place] = 1, 0
    v = np.arange(65, dtype=np.float32)[:, None]
    (output,) = soft(np.float32([[1, 0]]), k, v)
    assert output.item() == place


def test_the_only_key_gives_its_value():
    (output,) = soft(np.float32([[0.6, 0.8]]), np.float32([[1, 0]]), np.float32([[7, -3, 5]]))
    assert output.tolist() == [[7, -3, 5]]


def test_equal_keys_give_the_mean_of_their_values():
    key, values = np.float32([[1, 0], [1, 0]]), np.float32([[2, 0], [4, 6]])
    assert soft(np.float32([[0.6, 0.8]]), key, values)[0].tolist() == [[3, 3]]


def test_a_lead_of_temperature_times_ln_3_counts_three_times():
    cosines = [0.5 + 0.02 * np.log(3), 0.5]
    k = np.float32([[c, np.sqrt(1 - c * c)] for c in cosines])
    (output,) = soft(np.float32([[1, 0]]), k, np.float32([[1], [0]]), temperature=0.02)
    assert output.item() == pytest.approx(3 / 4, rel=1e-5)


def test_the_temperature_is_one_hundredth_unless_told():
    q, k, v = sample(5, 33)
    assert TAU == 1 / 100
    assert error(*soft(q, k, v), naive(q, k, v, tau=0.01)) < 1e-5


@pytest.mark.parametrize(("temperature", "near"), [(1e-4, 2e-3), (0.1, 1e-5), (100.0, 1e-5)])
def test_every_temperature_that_is_allowed_gives_what_its_twin_gives(dtype, temperature, near):
    """In float32 a score is off by about 1e-7, so an exponent at 1e-4 by about 1e-3."""
    q, k, v = sample(48, 65, dtype)
    k[1::2] = unit(k[::2][:32] + 1e-3 * k[1::2])  # pairs of keys that even 1e-4 cannot tell apart
    wanted = naive(*(np.float64(x) for x in (q, k, v)), tau=temperature)
    near = near if dtype == "float32" else 1e-10
    assert error(*soft(q, k, v, temperature=temperature), wanted) < near
    assert error(wanted, naive(q, k, v, tau=temperature * 1.1)) > 5 * near


def test_padding_after_the_keys_is_never_seen():
    q, k, v = sample(5, 33)
    block = partial(KeyBlock, size=jnp.asarray(20))
    (clean,) = aggregate(q := jnp.asarray(q), [block(jnp.asarray(k), (jnp.asarray(v),))], [12])
    k[20:], v[20:] = np.asarray(q[0]), 1e6
    (dirty,) = aggregate(q, [block(jnp.asarray(k), (jnp.asarray(v),))], [12])
    np.testing.assert_array_equal(clean, dirty)


def test_half_precision_rounds_queries_keys_weights_and_values():
    """The twin in float64, its operands in bfloat16; one block of keys, so one maximum."""
    half = lambda x: np.float64(np.asarray(x, ml_dtypes.bfloat16))  # noqa: E731
    q, k, v = sample(48, 512, dims=(64, 48))
    scores = half(q) @ half(k).T / TAU
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    wanted = half(weights) @ half(v) / weights.sum(axis=1, keepdims=True)
    (found,) = soft(q, k, v, block=512, precision="bf16")
    assert error(found, wanted) < 1e-5
    assert error(found, naive(q, k, v)) > 1e-3


def test_half_precision_stays_within_its_stated_error():
    """At dimension 1024, 1 - cosine of an output is up to 2e-5 (logits are off by up to 0.07)."""
    q, k, v = sample(48, 512, dims=(1024, 512))
    cosine = unit(np.float64(soft(q, k, v, precision="bf16")[0])) * unit(naive(q, k, v).numpy())
    assert 1e-6 < (1 - cosine.sum(axis=1)).max() < 2e-5
