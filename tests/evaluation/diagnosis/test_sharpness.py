import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.banks import BankSet, unit_rows
from fb_jax.evaluation.diagnosis.sample import Sampling
from fb_jax.evaluation.diagnosis.sharpness import Spread, sharpness, spread_of
from fb_jax.pseudo import BankStream, PairSpec, Ref, Retrieval

KEYS = Ref("unified", "text")


def spread(queries, keys, temperature=0.1, k=2, block=4):
    stream = BankStream({KEYS.column: keys}, block_rows=block)
    return spread_of(jnp.asarray(queries), stream, KEYS, temperature, k)


def naive(queries, keys, temperature, k):
    scores = queries.astype(np.float64) @ keys.T.astype(np.float64) / temperature
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    beyond = np.sort(weights, axis=1)[:, :-k].sum(axis=1)
    return 1 / (weights**2).sum(axis=1), beyond


def test_equal_keys_share_the_weight_and_a_lone_one_has_it_all():
    keys = np.float32([[1, 0], [1, 0], [1, 0], [0, 1]])
    effective, beyond = spread(np.float32([[1, 0], [0, 1]]), keys, temperature=0.01)
    np.testing.assert_allclose(effective, [3, 1], rtol=1e-5)
    np.testing.assert_allclose(beyond, [1 / 3, 0], atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 11, 50])
@pytest.mark.parametrize("k", [1, 5])
def test_blocks_of_keys_change_nothing(dtype, block, k):
    rng = np.random.default_rng(block)
    queries, keys = (rng.normal(size=(n, 6)).astype(dtype) for n in (7, 11))
    queries, keys = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, keys))
    found, wanted = spread(queries, keys, 0.1, k, block), naive(queries, keys, 0.1, k)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_more_neighbours_than_keys_leave_nothing_beyond():
    rows = np.eye(3, dtype=np.float32)
    assert np.allclose(spread(rows, rows, 1.0, k=9)[1], 0, atol=1e-6)


@pytest.fixture
def spec():
    """An image-text expert: from text, audio is found by a soft image."""
    rng = np.random.default_rng(0)
    rows = lambda n, d: unit_rows(rng.normal(size=(n, d)))  # noqa: E731
    counts = {"text": 40, "image": 30, "audio": 20}
    unified = {m: rows(n, 8) for m, n in counts.items()}
    banks = {"u": unified, "e": {m: rows(counts[m], 5) for m in ("text", "image")}}
    return PairSpec(BankSet.from_arrays(banks), "u", "e", Retrieval(temperature=0.05))


def test_every_hop_of_the_plan_is_measured_once_over_the_whole_pool(spec):
    found = sharpness(spec, Sampling(queries=100, neighbours=3))
    assert list(found["text"]) == ["text^e; image^e", "text^u; image^u", "~image^u; audio^u"]
    assert list(found["audio"]) == ["audio^u; image^u", "~image^u; text^u"]
    assert {s.keys for s in found["text"].values()} == {30, 20}


def test_a_soft_query_is_the_aggregate_of_the_hop_before(spec):
    found = sharpness(spec, Sampling(queries=100, neighbours=3))["text"]["~image^u; audio^u"]
    text, image, audio = (spec.banks["u", m][:].astype(np.float64) for m in ORDER)
    weights = np.exp(text @ image.T / 0.05)
    soft = weights @ image / weights.sum(axis=1, keepdims=True)
    soft /= np.linalg.norm(soft, axis=1, keepdims=True)
    effective, beyond = naive(soft, audio, 0.05, 3)
    assert found == pytest.approx((np.median(effective), np.median(beyond), 20), rel=1e-4)


ORDER = ("text", "image", "audio")


def test_it_is_said_as_a_number_of_keys():
    assert str(Spread(1.26, 0.0, 6000)) == "1.3 of 6,000 keys"
    assert str(Spread(912.6, 0.5, 6000)) == "913 of 6,000 keys"
    assert Spread(600.0, 0.5, 6000).share == 0.1
