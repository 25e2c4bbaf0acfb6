"""The loss and a step of a router against float64 twins, and what the whole training brings."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.projector import SHAPES, RouterShape, RouterSpec
from fb_jax.training.routing import (
    Batch,
    Objective,
    Routing,
    RoutingRows,
    distinct,
    init_routing,
    pair_loss,
    routing_step,
    source_loss,
    train_router,
)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def twin_loss(x, y, kept, temperature):
    """InfoNCE over the pairs that are kept, one after another."""
    x, y = np.float64(x[kept]), np.float64(y[kept])
    scores, terms = x @ y.T / temperature, []
    for i in range(len(x)):
        ahead, back = (np.log(np.exp(s).sum()) for s in (scores[i], scores[:, i]))
        terms.append((ahead + back) / 2 - scores[i, i])
    return np.mean(terms)


@pytest.mark.parametrize("kept", [[True] * 5, [True, False, True, True, False]])
def test_the_loss_of_pairs_equals_its_float64_twin(kept):
    rng, kept = np.random.default_rng(0), np.array(kept)
    x, y = (unit(rng.normal(size=(5, 3))).astype(np.float32) for _ in range(2))
    found = pair_loss(*map(jnp.asarray, (x, y, kept)), 0.5)
    np.testing.assert_allclose(found, twin_loss(x, y, kept, 0.5), rtol=1e-5)


def test_an_item_is_in_one_pair():
    pairs = np.array([[0, 7], [1, 7], [2, 8], [2, 9], [3, 5]])
    np.testing.assert_array_equal(distinct(pairs), [True, False, True, False, True])
    np.testing.assert_array_equal(distinct(np.array([[2, 9], [2, 8]])), [True, False])


def test_the_loss_on_sources_by_hand():
    """ln 2 for logit 0; ln(1 + e) for logit 1 and target 0; nothing for unknown sources."""
    logits, targets = jnp.array([[0.0, 1.0], [5.0, 5.0]]), jnp.array([[1.0, 0.0], [-1.0, -1.0]])
    wanted = (np.log(2) + np.log(1 + np.e)) / 2
    np.testing.assert_allclose(source_loss(logits, targets), wanted, rtol=1e-6)
    assert source_loss(logits, jnp.full((2, 2), -1.0)) == 0


SPEC = RouterSpec("text", ("u", "e"), (4, 3), 2, RouterShape((5,), ("tanh",), text_scale=2.0))


def rows(count=12, sources=False):
    rng = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.result_type(float))  # noqa: E731
    known = jnp.asarray(rng.integers(-1, 2, (count, 2)), jnp.result_type(float))
    others = {"audio": draw(9, 6), "image": draw(8, 6)}
    return RoutingRows(draw(count, 7), draw(count, 2, 6), others, known if sources else None)


def batches():
    return {
        "audio": Batch(jnp.array([[0, 3], [5, 1], [7, 7]]), jnp.array([True, True, True])),
        "image": Batch(jnp.array([[2, 2], [3, 2], [9, 0]]), jnp.array([True, False, True])),
    }


def value_of(params, data, how):
    """Eq. R4 to R6 in NumPy, float64."""
    params = jax.tree.map(np.float64, params)
    hidden, out = params["linear_0"], params["linear_out"]
    terms, known = [], []
    for other, (pairs, kept) in batches().items():
        items = np.asarray(pairs[:, 0])
        z = np.tanh(np.float64(data.inputs[items]) @ hidden["kernel"] + hidden["bias"])
        z = z @ out["kernel"] + out["bias"]
        r = np.exp(2 * z)
        r = 2 * r / r.sum(1, keepdims=True)
        x = sum(r[:, b, None] * np.float64(data.blocks[items, b]) for b in range(2))
        y = np.float64(data.others[other][pairs[:, 1]])
        terms.append(twin_loss(x, y, np.asarray(kept), how.temperature))
        if data.sources is not None:
            t, p = np.float64(data.sources[items]), 1 / (1 + np.exp(-z))
            known += list(-(t * np.log(p) + (1 - t) * np.log(1 - p))[t >= 0])
    return np.mean(terms) + (how.source_weight * np.mean(known) if known else 0)


@pytest.mark.parametrize("sources", [False, True])
def test_a_step_equals_its_float64_twin(sources):
    """The gradient by differences, and the first step of Adam: the learning rate times its sign."""
    how = Routing(learning_rate=0.01, temperature=0.7, source_weight=0.3, seed=3)
    with jax.enable_x64(True):
        objective, data = Objective(SPEC, how), rows(sources=sources)
        state = init_routing(objective)
        start = jax.tree.map(lambda x: np.array(x) + 0.05, state.params)
        state = state._replace(params=jax.tree.map(jnp.asarray, start))
        found, loss = routing_step(state, data, batches(), objective=objective)
        np.testing.assert_allclose(loss, value_of(start, data, how), rtol=1e-9)
        bias = start["linear_out"]["bias"]
        for i in range(2):
            sides = []
            for sign in (1, -1):
                moved = jax.tree.map(np.array, start)
                moved["linear_out"]["bias"][i] += sign * 1e-5
                sides.append(value_of(moved, data, how))
            slope = (sides[0] - sides[1]) / 2e-5
            step = np.asarray(found.params["linear_out"]["bias"])[i] - bias[i]
            np.testing.assert_allclose(step, -0.01 * slope / (abs(slope) + 1e-8), rtol=1e-3)


def knowing(count=400):
    """Items of two kinds, which show it; only one of two blocks finds the partner of each kind."""
    rng = np.random.default_rng(2)
    kind = np.arange(count) % 2
    y = unit(rng.normal(size=(count, 2, 8)))
    noise = unit(rng.normal(size=(count, 2, 8)))
    x = np.where(np.arange(2)[:, None] == kind[:, None, None], y, noise)
    blocks = np.zeros((count, 2, 16))
    blocks[:, 0, :8], blocks[:, 1, 8:] = x[:, 0], x[:, 1]
    inputs = np.stack([kind, 1 - kind], axis=1) + 0.1 * rng.normal(size=(count, 2))
    as32 = lambda a: jnp.asarray(a, jnp.float32)  # noqa: E731
    data = RoutingRows(as32(inputs), as32(blocks), {"text": as32(y.reshape(count, 16))})
    return data, kind, {"text": np.stack([np.arange(count)] * 2, axis=1)}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_router_learns_which_block_knows_an_item_and_the_same_bits_again(shape):
    data, kind, pairs = knowing()
    spec = RouterSpec("audio", ("u",), (2,), 2, SHAPES[shape])
    how = Routing(shape=shape, steps=60, batch=128, learning_rate=0.02, temperature=0.1, seed=1)
    steps = []
    router = train_router(spec, data, pairs, how, steps.append)
    weights = router.weights({"u": np.asarray(data.inputs)})
    right = weights[np.arange(len(kind)), kind]
    assert right.mean() > 1.35
    assert sum(steps) == 60
    again = train_router(spec, data, pairs, how)
    np.testing.assert_array_equal(router.vector, again.vector)
    assert router != train_router(spec, data, pairs, replace(how, seed=2))


def test_one_pair_and_numbers_without_bound_are_refused():
    data, _, pairs = knowing(8)
    spec = RouterSpec("audio", ("u",), (2,), 2)
    with pytest.raises(FreeBindError, match=r"item pairs that differ\n.*audio, text(.|\n)*got: +1"):
        train_router(spec, data, {"text": pairs["text"][:1]}, Routing(steps=1))
    wild = data._replace(blocks=data.blocks * jnp.inf)
    with pytest.raises(FreeBindError, match="not finite"):
        train_router(spec, wild, pairs, Routing(steps=2))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("shape", "huge"), ("steps", 0), ("batch", 1), ("items", 1), ("k", 0), ("alpha", 1.5)],
        *[("seed", -1), ("learning_rate", 0.0), ("temperature", 0.0), ("source_weight", -1.0)],
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(FreeBindError, match=setting):
        Routing(**{setting: value})
