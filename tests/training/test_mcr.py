"""C-MCR and Ex-MCR against their twins in torch, and by hand."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from twin import error, info_nce, to_torch
from twin.mcr import Extension, cmcr_loss, load_mlp, mlp

from fb_jax.projector import BondSpec, End, fold, mean_output
from fb_jax.pseudo import Retrieval
from fb_jax.training import describe_bond
from fb_jax.training.mcr import OBJECTIVES, distance
from fb_jax.training.step import TrainState, init_state, lanes_step

ORDER = (
    *(("expert", "text"), ("expert", "audio")),
    *(("unified", "text"), ("unified", "image")),
)
"""Sides and modalities in the order in which BatchNorm sees them."""
CLIP, CLAP = End("clip", ("text", "image"), 6), End("clap", ("text", "audio"), 5)
HIDDEN, BATCH, STEPS = 8, 16, 5


def objective(kind, **settings):
    spec = BondSpec.between(kind, CLIP, CLAP, HIDDEN)
    sides = ("text", "audio"), ("text", "image")
    return OBJECTIVES[spec.pipeline](spec, *sides, steps=STEPS, **settings)


def batch_of(step):
    rng = np.random.default_rng([7, step])
    ends = (("unified", CLIP), ("expert", CLAP))
    drawn = {
        (side, m): rng.normal(size=(BATCH, end.dim)) for side, end in ends for m in end.modalities
    }
    unit = {c: x / np.linalg.norm(x, axis=1, keepdims=True) for c, x in drawn.items()}
    return {column: jnp.asarray(x, jnp.float32) for column, x in unit.items()}


def member(kind):
    """Return the first state of the only member, without the leading axis."""
    state = init_state(BondSpec.between(kind, CLIP, CLAP, HIDDEN), jax.random.key(3))
    return jax.tree.map(lambda leaf: leaf[0], state)


def test_training_cmcr_is_training_two_heads_with_torch():
    """AdamW with a cosine decay, both heads; losses, and outputs at the end."""
    aim, first = objective("cmcr", temperature=0.01, intra=0.1), member("cmcr")
    heads = {
        side: load_mlp(
            mlp(dim, HIDDEN, 6),
            first.variables.params[side],
            first.variables.batch_stats[side],
        )
        for side, dim in (("expert", 5), ("unified", 6))
    }
    numbers = [p for head in heads.values() for p in head.parameters()]
    adam = torch.optim.AdamW(numbers, 1e-3, weight_decay=0.01)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    state, losses = jax.tree.map(lambda leaf: leaf[None], first), []
    for step in range(STEPS):
        batch = batch_of(step)
        lanes = {column: rows[None] for column, rows in batch.items()}
        state, found = lanes_step(state, lanes, objective=aim, execution="map")
        rows = {c: normalize(heads[c[0]](to_torch(batch[c]))) for c in ORDER}
        expert, unified = ({m: x for (s, m), x in rows.items() if s == side} for side in heads)
        loss = cmcr_loss(expert, unified, bridge="text")
        adam.zero_grad()
        loss.backward()
        adam.step()
        decay.step()
        losses.append((found.item(), loss.item()))
    np.testing.assert_allclose(*np.transpose(losses), rtol=2e-4)
    x = batch_of(99)["expert", "audio"]
    trained = jax.tree.map(lambda leaf: leaf[0], state.variables)
    network = aim.spec.projector()
    ours = network.apply(trained.collections(), x, route="expert")
    assert error(ours, normalize(heads["expert"].eval()(to_torch(x)))) < 1e-3


def test_an_extension_is_the_twins_with_and_without_the_gap():
    spec, first = BondSpec.between("exmcr", CLIP, CLAP, HIDDEN), member("exmcr").variables
    rng = np.random.default_rng(0)
    first.params["gap"]["kernel"] = jnp.asarray(rng.normal(size=(5, 5)), jnp.float32)
    first.params["gap"]["bias"] = jnp.asarray(rng.normal(size=5), jnp.float32)
    twin = Extension(5, HIDDEN, 6).eval()
    for name, part in (("first", twin.first), ("second", twin.second)):
        load_mlp(part, first.params[name], first.batch_stats[name])
    with torch.no_grad():
        twin.gap.weight.copy_(to_torch(first.params["gap"]["kernel"].T))
        twin.gap.bias.copy_(to_torch(first.params["gap"]["bias"]))
    x = batch_of(0)["expert", "audio"]
    for route, far in (("", False), ("gap", True)):
        found = spec.projector().apply(first.collections(), x, route=route)
        assert error(found, twin(to_torch(x), far=far)) < 1e-5
        folded = fold(jax.tree.map(lambda leaf: leaf[None], first), route)
        assert error(mean_output(folded, np.asarray(x)), twin(to_torch(x), far=far)) < 1e-5


def test_f_l_starts_as_the_identity():
    spec, first = BondSpec.between("exmcr", CLIP, CLAP, HIDDEN), member("exmcr").variables
    x = batch_of(0)["expert", "audio"]
    apply = partial(spec.projector().apply, first.collections(), x)
    np.testing.assert_allclose(apply(route="gap"), apply(route=""), atol=1e-6)


def test_dense_alignment_is_the_mean_of_all_pairs_of_modalities():
    aim = objective("exmcr", temperature=0.05)
    batch = batch_of(0)
    rows = {m: batch["unified", m] for m in ("text", "image")}
    other = {m: jnp.roll(x, 1, axis=0) for m, x in rows.items()}
    wanted = [
        info_nce(to_torch(x), to_torch(y), 0.05) for x in rows.values() for y in other.values()
    ]
    assert aim.contrast(rows, other) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_the_distance_is_the_mean_length_of_the_differences():
    x, y = jnp.zeros((2, 2)), jnp.array([[3.0, 4.0], [0.0, 1.0]])
    assert distance(x, y) == pytest.approx(3)
    gradient = jax.grad(lambda rows: distance(rows, rows))(x)
    assert np.isfinite(gradient).all()


def test_ex_mcrs_term_pulls_f_l_of_audio_to_text_and_only_f_l():
    aim, state = objective("exmcr", temperature=0.05), member("exmcr")
    batch = batch_of(0)
    inside = lambda params: aim.inside(  # noqa: E731
        state.variables._replace(params=params), batch, {}, {}
    )
    wanted = np.linalg.norm(batch["expert", "audio"] - batch["expert", "text"], axis=1).mean()
    assert inside(state.variables.params) == pytest.approx(wanted, rel=1e-6)
    gradients = jax.grad(inside)(state.variables.params)
    moved = {name for name, part in gradients.items() if any(map(np.any, jax.tree.leaves(part)))}
    assert moved == {"gap"}


def test_noise_has_its_variance_and_is_the_same_at_the_same_step():
    aim = objective("cmcr", noise=0.25, seed=1)
    column = ("expert", "text")
    batch = {column: jnp.zeros((4000, 5)).at[:, 0].set(1.0)}
    first, again, later = (aim._noisy(batch, step)[column] for step in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - later).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    ratio = first[:, 1] / first[:, 0]  # of a normal number and of 1 + another
    median = np.median(np.abs(ratio))
    drawn = np.random.default_rng(0).normal(scale=0.5, size=(2, 200_000))
    assert median == pytest.approx(np.median(np.abs(drawn[1] / (1 + drawn[0]))), rel=0.05)
    other = replace(aim, seed=2)._noisy(batch, 3)[column]
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("kind", ["cmcr", "exmcr"])
def test_every_step_of_a_training_has_noise_of_its_own(kind):
    aim, batch = objective(kind, noise=0.25), batch_of(0)
    state = jax.tree.map(lambda leaf: leaf[None], member(kind))
    for step in range(3):
        own = jax.tree.map(lambda leaf: leaf[0], state.variables)
        wanted, other = (aim.loss(own, batch, at)[0] for at in (step, step + 1))
        lanes = {column: rows[None] for column, rows in batch.items()}
        state, (found,) = lanes_step(state, lanes, objective=aim, execution="map")
        assert float(found) == pytest.approx(float(wanted), rel=1e-5)
        assert abs(float(found) - float(other)) > 1e-3


def test_adamw_decays_the_weights_and_its_rate_decays_to_nothing():
    """Without a gradient, the first step takes 1e-3 * 0.01 of a weight; the last rate is 0."""
    optimiser, weights = objective("cmcr").optimiser, jnp.array([2.0, -4.0])
    state, steps = optimiser.init(weights), []
    for _ in range(STEPS + 1):
        update, state = optimiser.update(jnp.zeros(2), state, weights)
        steps.append(np.asarray(update))
    np.testing.assert_allclose(steps[0], [-2e-5, 4e-5], rtol=1e-6)
    np.testing.assert_allclose(steps[-1], 0, atol=1e-12)


@pytest.mark.parametrize("name", ["noise", "intra", "temperature"])
@pytest.mark.parametrize("kind", ["cmcr", "exmcr"])
def test_every_setting_changes_the_loss(kind, name):
    aim, state = objective(kind, noise=0.004, intra=0.1), member(kind)
    losses = [
        at.loss(state.variables, batch_of(0), 1)[0] for at in (aim, replace(aim, **{name: 0.5}))
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_in_freebinds_bonds_the_target_stays_as_it_is():
    """Table 9: C-MCR's projector and loss, in a displacement."""
    ends = End("u", ("text", "image", "audio"), 6), End("e", ("text", "image"), 5)
    spec = BondSpec.between("displacement", *ends, HIDDEN, "cmcr")
    assert (spec.members, spec.route("expert", "text")) == ((("image",),), None)
    aim = OBJECTIVES["cmcr"](spec, ("text", "image", "audio"), ("text", "image"), intra=0.1)
    state: TrainState = init_state(spec, jax.random.key(0))
    batch = {("unified", m): jnp.eye(6)[None] for m in aim.source}
    batch |= {("expert", m): jnp.eye(6, 5)[None] for m in aim.target}
    before = jax.tree.map(np.asarray, state.variables)
    state, losses = lanes_step(state, batch, objective=aim, execution="vmap")
    assert np.isfinite(losses).all()
    assert set(before.params) == {"linear_in", "norm_in", "linear_out", "norm_out"}
    rows = {"text": jnp.zeros((2, 6)), "image": jnp.eye(2, 6)}
    inside = aim.inside(before, {}, rows, {"text": 3 * rows["image"], "image": rows["text"]})
    assert float(inside) == pytest.approx(1)  # the distance of what is projected alone


def test_the_anchor_of_the_pairs_is_the_bridge_if_both_spaces_have_it(pairs):
    around = lambda anchor: replace(pairs.spec, retrieval=Retrieval(anchor=anchor))  # noqa: E731
    found = [describe_bond(around(anchor), "cmcr").members for anchor in (None, "image", "audio")]
    assert found == [(("text",),), (("text",),), (("audio",),)]
