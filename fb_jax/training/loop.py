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


@dataclass
class Loop:
    """Steps, with logging, checkpoints and stopping between; no checkpoints: None is written."""

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
            self._require_finite(np.isfinite(losses), members, step)
        self.unchecked = []

    def _names(self, members: Sequence[int]) -> list[str]:
        return [subset_name(self.schedule.members[member]) for member in members]

    def _require_finite(self, finite: np.ndarray, members: Sequence[int], step: int) -> None:
        if finite.all():
            return
        last = (self.checkpoints.steps() if self.checkpoints else []) or [0]
        raise FreeBindError(
            "the loss is not finite",
            where=f"step {step}, projector {self._names(members)[int(np.argmin(finite))]}",
            expected="a finite loss and finite weights",
            got=f"NaN or infinity; the last good checkpoint, step {last[-1]}, is kept",
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
        self._require_finite(np.asarray(_finite_members(state)), everyone, step)
        if self.checkpoints:
            self.checkpoints.save(step, state, self.feed.iterator_state)
        self.saved_at = time.monotonic()


@jax.jit
def _finite_members(state: TrainState) -> Bool[Array, " members"]:
    leaves = [jnp.isfinite(x).reshape(len(x), -1).all(axis=1) for x in jax.tree.leaves(state)]
    return jnp.stack(leaves).all(axis=0)
