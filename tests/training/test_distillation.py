from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made import linear_bond, random_bond

from fb_jax.banks import unit_rows
from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.projector import Bond
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.distillation import ROWS, Distillation, Distilling, distil_bond

TURN = np.deg2rad(50)


def turned(angle):
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.fixture(scope="module")
def mixture() -> Bond:
    """One member turns the plane to the left, the other one to the right: together they do not."""
    return linear_bond("combination", turned(TURN), turned(-TURN))


def circle(count, seed=0):
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_one_projector_learns_what_the_mixture_does_together(mixture):
    rows, new = circle(200), circle(50, seed=1)
    np.testing.assert_allclose(mixture.project(new), new, atol=1e-6)
    how, targets = Distilling(steps=400, batch=50), partial(mixture.project, rows)
    found = distil_bond(mixture, rows, targets, how, "ab")
    assert (found.spec.members, found.spec.distilled) == ((("text",),), "ab")
    assert found.spec == replace(mixture.only(("text",)).spec, distilled="ab")
    before = (mixture.only(("text",)).project(new) * new).sum(axis=1)
    np.testing.assert_allclose(before, np.cos(TURN), atol=1e-6)
    assert (found.project(new) * new).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("kind", ["combination", "displacement"])
def test_the_loss_is_half_the_mean_squared_distance(kind):
    bond = random_bond(kind, ("u", 6), ("e", 5), ("text", "audio")).only(("text",))
    spec, rng = bond.spec, np.random.default_rng(0)
    rows, targets = (unit_rows(rng.normal(size=(7, d))) for d in (spec.dim_in, spec.dim_out))
    sides = spec.direction.source, spec.direction.target
    batch = {(side, ROWS): jnp.asarray(x) for side, x in zip(sides, (rows, targets), strict=True)}
    member = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), bond.variables)
    loss, statistics = Distillation(spec, (), ()).loss(member, batch)
    distances = np.square(bond.project(rows).astype(float) - targets).sum(axis=1)
    np.testing.assert_allclose(loss, distances.mean() / 2, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, statistics, member.batch_stats)


def test_the_same_settings_give_the_same_bits_and_leave_the_mixture_alone(mixture):
    rows = circle(40)
    kept = jax.tree.map(np.array, mixture.variables)
    do = lambda **how: distil_bond(  # noqa: E731
        mixture, rows, lambda: rows, Distilling(steps=12, batch=8, **how), ""
    )
    assert do() == do()
    for other in ({"seed": 1}, {"learning_rate": 0.02}):
        assert do(**other) != do()
    jax.tree.map(np.testing.assert_array_equal, mixture.variables, kept)


def test_the_rate_falls_to_nothing_so_that_the_last_step_is_short(mixture):
    optimiser = Distillation(mixture.spec, (), (), learning_rate=0.5, steps=10).optimiser
    state, moves = optimiser.init(np.float32(0)), []
    for _ in range(11):
        move, state = optimiser.update(np.float32(1), state)
        moves.append(-float(move))
    wanted = [0.25 * (1 + np.cos(np.pi * step / 10)) for step in range(11)]
    np.testing.assert_allclose(moves, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "batch", "count", "length", "rows"),
    [(5, 4, 10, 6, 4), (5, 4, 3, 5, 3), (1, 2, 9, 4, 2)],
)
def test_steps_are_rounded_up_to_whole_passes(steps, batch, count, length, rows):
    schedule = Distilling(steps=steps, batch=batch).schedule(count)
    assert (len(schedule), schedule[0].shape) == (length, (1, rows))
    first = np.concatenate([schedule[i][0] for i in range(count // rows)])
    assert len(set(first.tolist())) == len(first)


def test_an_interrupted_training_continues_and_ends_in_the_same_bits(mixture, tmp_path):
    rows, how, seen = circle(40), Distilling(steps=12, batch=8), []
    train = partial(distil_bond, mixture, rows, how=how, origin="ab")

    def stop(steps, _loss):
        seen.append(steps)
        if sum(seen) == 7:
            raise Interrupted("stopped")

    kept = Checkpoints(tmp_path / "kept", "claim")
    with pytest.raises(Interrupted):
        train(lambda: rows, progress=stop, checkpoints=kept)
    assert kept.steps() == [7]
    wanted = train(lambda: rows)
    counted = []
    progress = lambda steps, _loss: counted.append(steps)  # noqa: E731
    assert train(lambda: rows, progress=progress, checkpoints=kept) == wanted
    assert (counted[0], sum(counted)) == (7, 15)
    finished = train(lambda: pytest.fail("not needed"), progress=progress, checkpoints=kept)
    assert finished == wanted
    other = Checkpoints(kept.folder, "another claim")
    with pytest.raises(FreeBindError, match="belongs to another training"):
        train(lambda: rows, checkpoints=other)


def test_progress_counts_every_step(mixture):
    seen = []
    how, rows = Distilling(steps=7, batch=5), circle(10)
    distil_bond(mixture, rows, lambda: rows, how, "", lambda steps, _loss: seen.append(steps))
    assert sum(seen) == len(how.schedule(10)) == 8


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 1}, "batch"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"most_rows": 0}, "most_rows"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused(setting, text):
    with pytest.raises(FreeBindError, match=text):
        Distilling(**setting)


def test_rows_that_are_no_numbers_are_told(mixture):
    rows = circle(10)
    wrong = lambda: rows * np.float32(np.nan)  # noqa: E731
    with pytest.raises(FreeBindError, match="the loss is not finite"):
        distil_bond(mixture, rows, wrong, Distilling(steps=2, batch=5), "")
