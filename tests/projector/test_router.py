import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fb_jax.errors import FreeBindError
from fb_jax.projector import SHAPES, Router, RouterShape, RouterSpec, Variables
from fb_jax.projector.router import Layer

SPEC = RouterSpec("audio", ("u", "e"), (6, 4), 3)
OMNIBIND = RouterShape((7, 5), ("relu", "tanh"), batch_norm=True, sigmoid=True, text_scale=10.0)


def native(count=9):
    rng = np.random.default_rng(0)
    draw = lambda d: rng.normal(size=(count, d)).astype(np.float32)  # noqa: E731
    return {"u": draw(6), "e": draw(4), "other": draw(2)}


def drawn(spec):
    """A router in training whose every number is drawn."""
    rng = np.random.default_rng(1)
    made = spec.net().init(jax.random.key(0), jnp.zeros((2, sum(spec.dims))))
    draw = lambda x: rng.uniform(0.3, 1.5, x.shape).astype(np.float32)  # noqa: E731
    params, stats = (jax.tree.map(draw, made.get(n, {})) for n in ("params", "batch_stats"))
    return Variables(params, stats)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("modality", ["text", "audio"])
def test_training_starts_where_every_weight_is_one(shape, modality):
    spec = RouterSpec(modality, ("u", "e"), (6, 4), 3, shape)
    made = spec.net().init(jax.random.key(0), jnp.zeros((2, 10)))
    router = spec.folded(Variables(made["params"], made.get("batch_stats", {})))
    np.testing.assert_array_equal(router.weights(native()), np.ones((9, 3), np.float32))


@pytest.mark.parametrize("modality", ["text", "audio"])
@pytest.mark.parametrize("shape", [RouterShape(), OMNIBIND], ids=["small", "omnibind"])
def test_a_folded_router_equals_its_float64_twin(shape, modality):
    spec = RouterSpec(modality, ("u", "e"), (6, 4), 3, shape)
    params, stats = drawn(spec)
    rows = native()
    x = np.hstack([rows["u"], rows["e"]]).astype(np.float64)
    for i, activation in enumerate(shape.activations):
        layer = {name: np.float64(leaf) for name, leaf in params[f"linear_{i}"].items()}
        x = x @ layer["kernel"] + layer.get("bias", 0)
        if shape.batch_norm:
            own, running = params[f"norm_{i}"], stats[f"norm_{i}"]
            x = (x - running["mean"]) / np.sqrt(np.float64(running["var"]) + 1e-5) * own["scale"]
            x = x + own["shift"]
        x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
    x = x @ np.float64(params["linear_out"]["kernel"]) + params["linear_out"]["bias"]
    if shape.sigmoid:
        x = 1 / (1 + np.exp(-x))
    x = np.exp((shape.text_scale if modality == "text" else shape.scale) * x)
    found = spec.folded(Variables(params, stats)).weights(rows)
    np.testing.assert_allclose(found, 3 * x / x.sum(1, keepdims=True), rtol=2e-5)
    np.testing.assert_allclose(found.mean(1), 1, rtol=1e-6)


def test_a_constant_router_by_hand():
    router = Router.constant(SPEC, np.array([0, 1, 2], np.float32))
    np.testing.assert_allclose(router.weights(native(2)), [[0, 1, 2]] * 2, atol=1e-6)
    assert router.reads(native())
    assert not router.reads({"u": native()["u"]})


def test_routers_are_equal_if_their_numbers_are():
    one, same, other = (Router.constant(SPEC, np.array([1, 1, x], np.float32)) for x in (1, 1, 2))
    assert one == same
    assert one != other
    assert one != "router"
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RouterShape((3, 4), ("tanh",)), "an activation for each hidden layer"),
        (lambda: RouterShape(scale=0.0), "scale"),
        (lambda: RouterSpec("audio", ("u",), (6, 4), 3), "each with its dimension"),
        (lambda: RouterSpec("audio", (), (), 3), "spaces none"),
        (lambda: Router(SPEC, (Layer(np.zeros((2, 3)), np.zeros(3)),)), "do not fit its desc"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(FreeBindError, match=text):
        make()
