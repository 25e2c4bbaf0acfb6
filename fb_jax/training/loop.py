"""The training loop: steps, and what happens between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from fb_jax.errors import FreeBindError, Interrupted
from fb_jax.projector import subset_name
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.log import LOSS, Logger
from fb_jax.training.schedule import Schedule, Segment
from fb_jax.training.settings import Runtime
from fb_jax.training.step import TrainState, put_members, take_members

StepProgress = Callable[[int, float], None]
"""Called with the steps just taken and the last mean loss; may raise ``Interrupted`` to stop."""

MAX_WEIGHT = 1e6
"""Largest magnitude of a weight or running statistic in a training that has not diverged. Weights
start at about 1 or less, and Adam moves them by about the learning rate in a step."""


@dataclass
class Loop:
    """Steps, with logging, checkpoints and stopping between; None as checkpoints writes none."""

    schedule: Schedule
    feed: Feed
    advance: Callable[..., tuple[TrainState, jax.Array]]
    checkpoints: Checkpoints | None
    log: Logger
    runtime: Runtime
    progress: StepProgress
    last_loss: float = float("nan")
    unchecked: list[tuple[int, tuple[int, ...], jax.Array]] = field(default_factory=list)
    rows: int = 0
    saved_at: float = 0.0
    logged_at: float = 0.0

    def run(self, state: TrainState, step: int) -> TrainState:
        """Train from a step to the end."""
        self.saved_at = self.logged_at = time.monotonic()
        self.progress(step, self.last_loss)
        for segment in self.schedule.segments:
            if step < segment.stop:
                state = self._segment(state, segment, max(step, segment.start))
        self._save(len(self.schedule), state)
        return state

    def _segment(self, state: TrainState, segment: Segment, first: int) -> TrainState:
        members = jnp.asarray(segment.members)
        lanes = take_members(state, members)
        whole = lambda: put_members(state, members, lanes)  # noqa: E731
        for step in range(first + 1, segment.stop + 1):
            lanes, losses = self.advance(lanes, next(self.feed))
            self.unchecked.append((step, segment.members, losses))
            self.rows += self.schedule.batch * len(segment.members)
            if step % self.runtime.log_steps == 0 or step == segment.stop:
                self._log(step, segment.members, losses)
            try:
                self.progress(1, self.last_loss)
            except Interrupted:
                self._save(step, whole())
                raise
            if self._save_is_due(step):
                self._save(step, whole())
        return whole()

    def _log(self, step: int, members: tuple[int, ...], losses: jax.Array) -> None:
        self._check_losses()
        names = [f"{LOSS}{name}" for name in self._names(members)]
        now = time.monotonic()
        rate = self.rows / max(now - self.logged_at, 1e-9)
        values = dict(zip(names, losses.tolist(), strict=True))
        self.log.log(step, {**values, "rows_per_second": rate})
        self.last_loss, self.rows, self.logged_at = float(losses.mean()), 0, now

    def _check_losses(self) -> None:
        """Fetch the losses since the last check; waiting for each would stall the device."""
        for step, members, losses in self.unchecked:
            self._require(np.isfinite(losses), members, step, "the loss is not finite", "a number")
        self.unchecked = []

    def _names(self, members: Sequence[int]) -> list[str]:
        return [subset_name(self.schedule.members[member]) for member in members]

    def _require(
        self, good: np.ndarray, members: Sequence[int], step: int, what: str, expected: str
    ) -> None:
        """Raise a FreeBindError unless all members are good."""
        if good.all():
            return
        last = (self.checkpoints.steps() if self.checkpoints else []) or [0]
        raise FreeBindError(
            what,
            where=f"step {step}, projector {self._names(members)[int(np.argmin(good))]}",
            expected=expected,
            got=f"the last good checkpoint, step {last[-1]}, is kept",
            fix="look for outliers in the banks (freebind bank verify); train into another --out "
            "with a lower --training.learning-rate, or with --training.precision float32",
        )

    def _save_is_due(self, step: int) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        by_steps = step % self.runtime.checkpoint_steps == 0
        return by_steps or minutes >= self.runtime.checkpoint_minutes

    def _save(self, step: int, state: TrainState) -> None:
        self._check_losses()
        everyone = range(len(self.schedule.members))
        finite, bounded = map(np.asarray, _sound_members(state))
        self._require(finite, everyone, step, "the weights are not finite", "numbers")
        span = f"weights and running statistics of -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        self._require(bounded, everyone, step, "the weights have grown without bound", span)
        if self.checkpoints:
            self.checkpoints.save(step, state, self.feed.iterator_state)
        self.saved_at = time.monotonic()


@jax.jit
def _sound_members(state: TrainState) -> tuple[Bool[Array, " members"], Bool[Array, " members"]]:
    """Return which members have finite numbers, and whose projectors' are within the bound."""
    every = lambda x: x.reshape(len(x), -1).all(axis=1)  # noqa: E731
    finite = [every(jnp.isfinite(x)) for x in jax.tree.leaves(state)]
    bounded = [every(jnp.abs(x) <= MAX_WEIGHT) for x in jax.tree.leaves(state.variables)]
    return jnp.stack(finite).all(axis=0), jnp.stack(bounded).all(axis=0)
