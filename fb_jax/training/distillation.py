"""Seven into one: one projector that is trained to give the output of a mixture [O].

    L = mean of 1 - <psi(x), Psi(x)> over rows x of the source space                          (D1)

Psi(x) is the unit output of the mixture, psi(x) that of the projector. L is half of their squared
distance. No pairs and no contrast: the mixture is the teacher, and every row counts by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Float32
from numpy import ndarray

from fb_jax.errors import require_range
from fb_jax.numerics import single_precision
from fb_jax.projector import Bond, Variables
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.log import Loggers
from fb_jax.training.loop import Loop, StepProgress
from fb_jax.training.objective import Batch, Objective
from fb_jax.training.schedule import Schedule
from fb_jax.training.settings import Runtime
from fb_jax.training.step import TrainState, lanes_step

ROWS = "rows"


@dataclass(frozen=True)
class Distilling:
    """Settings of distilling; the same ones on the same rows give the same bits.

    Attributes:
        steps: Steps of Adam for each projector, rounded up to whole passes over the rows, 1 to
            1000000000.
        batch: Rows in a batch, 2 to 1048576; fewer if there are fewer.
        learning_rate: Learning rate of Adam at the start, 1e-08 to 1; it falls to 0 by a cosine.
        most_rows: Largest number of rows of a modality to train on, evenly spaced, 1 to 2^40. They
            and their targets are held in memory.
        seed: Seed of the shuffling, 0 to 4294967295.
    """

    steps: int = 2000
    batch: int = 256
    learning_rate: float = 3e-3
    most_rows: int = 1 << 16
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("distilling", 1, 10**9, steps=self.steps)
        require_range("distilling", 2, 1 << 20, batch=self.batch)
        require_range("distilling", 1e-8, 1.0, learning_rate=self.learning_rate)
        require_range("distilling", 1, 1 << 40, most_rows=self.most_rows)
        require_range("distilling", 0, (1 << 32) - 1, seed=self.seed)

    def schedule(self, count: int) -> Schedule:
        """Return the steps of training on so many rows: one member, whole passes."""
        batch = min(self.batch, count)
        epochs = -(-self.steps // (count // batch))
        starts = {ROWS: range(count)}
        return Schedule(starts, batch=batch, epochs=epochs, seed=self.seed, members=((ROWS,),))


@dataclass(frozen=True)
class Distillation(Objective):
    """Equation (D1), with a learning rate that falls to 0, so that the last steps settle."""

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam with a cosine decay."""
        return optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.steps))

    def loss(
        self, variables: Variables, batch: Batch, step: Array | int = 0
    ) -> tuple[Float[Array, ""], Any]:
        """Return the loss on a batch, and the statistics of BatchNorm, which stay as they are."""
        direction, projector = self.spec.direction, self.spec.projector(self.precision)
        found = projector.apply(variables.collections(), batch[direction.source, ROWS])
        cosines = (found * batch[direction.target, ROWS]).sum(axis=-1)
        return 1 - cosines.mean(), variables.batch_stats


@single_precision()
def distil_bond(
    bond: Bond,
    rows: Float32[ndarray, "n d_in"],
    targets: Callable[[], Float32[ndarray, "n d_out"]],
    how: Distilling,
    origin: str,
    progress: StepProgress = lambda _steps, _loss: None,
    checkpoints: Checkpoints | None = None,
) -> Bond:
    """Return a bond of one projector that gives the targets, the unit outputs of a mixture.

    It starts from the member of the mixture that was trained on all pairs, with BatchNorm as in
    inference throughout: the statistics of that member stay, and the rest is trained.

    Args:
        bond: The mixture.
        rows: ``[n, d_in]`` unit rows of the source space.
        targets: Returns ``[n, d_out]`` unit rows; not called if the training is finished.
        how: Settings.
        origin: Digest of what is distilled, for the description of the bond.
        progress: Called at every step; see ``fb_jax.training.train_bond``.
        checkpoints: Those of this training, to continue from the last and to end in the same bits.
            None: none are written.

    Raises:
        FreeBindError: The loss is not finite, the weights have grown without bound, or a checkpoint
            is damaged or cannot be written.
    """
    start = bond.only(max(bond.members, key=len))
    spec, schedule = start.spec, how.schedule(len(rows))
    rate, steps = how.learning_rate, len(schedule)
    objective = Distillation(spec, (), (), learning_rate=rate, steps=steps)
    variables = jax.tree.map(jnp.array, start.variables)  # copies: a step reuses their memory
    state = TrainState(variables, jax.vmap(objective.optimiser.init)(variables.params))
    step, position = 0, None
    if checkpoints and (known := checkpoints.steps()):
        step = known[-1]
        state, position = checkpoints.restore(step, state)
    if step == steps:
        progress(steps, float("nan"))
    else:
        sides = {spec.direction.source: rows, spec.direction.target: targets()}
        table = {(side, ROWS): own for side, own in sides.items()}
        feed = Feed(schedule, table, resident=True, iterator_state=position)
        advance = partial(lanes_step, objective=objective, execution="map")
        loop = Loop(schedule, feed, advance, checkpoints, Loggers(), Runtime(), progress)
        state = loop.run(state, step)
    return Bond(replace(spec, distilled=origin), state.variables)
