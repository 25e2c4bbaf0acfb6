"""Training a bond: all members of its mixture, in lanes, from pseudo pairs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax.numpy as jnp

from fb_jax.banks import files
from fb_jax.errors import unknown
from fb_jax.projector import DIRECTIONS, Bond, BondKind
from fb_jax.pseudo import PairSet
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.form import BondForm, claim_folder, form_for
from fb_jax.training.log import TrainLog
from fb_jax.training.loop import Loop, StepProgress
from fb_jax.training.schedule import Schedule
from fb_jax.training.settings import Runtime, Training
from fb_jax.training.step import Across, Objective, TrainState, lanes_step


def objective_for(pairs: PairSet, form: BondForm, how: Training) -> Objective:
    """Return what the members of a bond minimise on these pairs."""
    direction = DIRECTIONS[form.kind]
    return Objective(
        projector=form.projector,
        direction=direction,
        source=pairs.spec.modalities(direction.source),
        target=pairs.spec.modalities(direction.target),
        learning_rate=how.learning_rate,
        temperature=how.temperature,
        symmetric=how.symmetric,
    )


def train_bond(
    pairs: PairSet,
    kind: BondKind,
    folder: Path,
    how: Training | None = None,
    runtime: Runtime | None = None,
    progress: StepProgress = lambda _steps, _loss: None,
) -> Bond:
    """Train a bond, or go on training it, or just read it if it is trained.

    Args:
        pairs: Finished pseudo pairs.
        kind: The direction.
        folder: Of checkpoints and logs; belongs to these pairs and settings.
        how: Settings that the result depends on.
        runtime: Settings that it does not depend on.
        progress: Told of steps; when it raises ``Interrupted``, the state is saved first.

    Returns:
        The trained bond.

    Raises:
        FreeBindError: A batch is larger than a subset, the loss is not finite, the folder belongs
            to another training, a checkpoint is damaged, or the disk is full.
    """
    if kind not in DIRECTIONS:
        raise unknown("bond", kind, DIRECTIONS)
    how, runtime = (how or Training()).resolved(kind), runtime or Runtime()
    schedule = how.schedule(kind, pairs.spec.ranges)
    form = form_for(pairs.spec, kind, how)
    with files.locked(folder):
        claim_folder(folder, form, how, len(schedule), pairs.fingerprint())
        state = _train(pairs, form, folder, how, runtime, schedule, progress)
    return form.bond(state.variables)


def _train(
    pairs: PairSet,
    form: BondForm,
    folder: Path,
    how: Training,
    runtime: Runtime,
    schedule: Schedule,
    progress: StepProgress,
) -> TrainState:
    checkpoints = Checkpoints(folder / "checkpoints")
    step, place, state = 0, None, form.first_state(how.seed)
    if steps := checkpoints.steps():
        step = steps[-1]
        state, place = checkpoints.restore(step, state)
    if step == len(schedule):
        return state
    resident = pairs.spec.table_bytes() <= runtime.resident_bytes
    feed = Feed(schedule, pairs.columns, resident=resident, place=place)
    across = runtime.across or default_across()
    advance = partial(lanes_step, objective=objective_for(pairs, form, how), across=across)
    with TrainLog(folder, step) as log:
        loop = Loop(schedule, feed, advance, checkpoints, log, runtime, progress)
        return loop.run(state, step)


def default_across() -> Across:
    """Return how lanes run fastest here: one behind the other on a CPU, whose caches they share."""
    (device,) = jnp.zeros(()).devices()
    return "map" if device.platform == "cpu" else "vmap"
