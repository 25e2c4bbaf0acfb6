"""Training a bond: all members of its mixture, in lanes, from pseudo pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.numerics import platform, require_supported, single_precision
from fb_jax.projector import Bond, BondKind, BondSpec, End, PipelineName
from fb_jax.pseudo import PairSet, PairSpec
from fb_jax.registry import LOSSES
from fb_jax.training.bond_folder import checkpoints_of, claim_folder, first_state
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.log import Logger, Loggers, open_loggers, require_loggers
from fb_jax.training.loop import Loop, StepProgress
from fb_jax.training.mcr import OBJECTIVES
from fb_jax.training.objective import Objective
from fb_jax.training.schedule import Schedule
from fb_jax.training.settings import Runtime, Training
from fb_jax.training.step import LaneExecution, TrainState, lanes_step


def describe_bond(
    pairs: PairSpec,
    kind: BondKind,
    hidden: int | None = None,
    pipeline: PipelineName | None = None,
) -> BondSpec:
    """Return the description of a bond that is trained on some pairs.

    Args:
        pairs: The pseudo pairs.
        kind: Its direction.
        hidden: Width of the projectors; None: the pipeline's.
        pipeline: What the projectors are; None: the bond's own.

    Raises:
        FreeBindError: There is no such kind of bond, or it does not fit the spaces.
    """
    unified, expert = (
        End(name, pairs.banks.modalities(name), pairs.banks.dim(name))
        for name in (pairs.unified, pairs.expert)
    )
    return BondSpec.between(kind, unified, expert, hidden, pipeline, pairs.anchor)


def objective_for(pairs: PairSet, spec: BondSpec, training: Training, steps: int = 1) -> Objective:
    """Return what the members of a bond minimise on some pairs, with resolved settings."""
    source, target = spec.direction.source, spec.direction.target
    weights = ("noise", "intra", "ensemble")
    names = ("learning_rate", "temperature", *weights, "symmetric", "precision", "seed")
    return OBJECTIVES[spec.pipeline](
        spec=spec,
        source=pairs.spec.modalities(source),
        target=pairs.spec.modalities(target),
        steps=steps,
        criterion=LOSSES.get(training.loss),
        code=LOSSES.identity(training.loss)["code"],
        **{name: getattr(training, name) for name in names},
    )


@single_precision()
def train_bond(
    pairs: PairSet,
    kind: BondKind,
    folder: Path | str | None = None,
    training: Training | None = None,
    runtime: Runtime | None = None,
    progress: StepProgress = lambda _steps, _loss: None,
    loggers: Sequence[Logger] = (),
) -> Bond:
    """Train a bond; continue if its training was interrupted, and only read it if it is finished.

    Args:
        pairs: Finished pseudo pairs.
        kind: The direction.
        folder: For checkpoints and logs: an empty folder, or that of this training. None: nothing
            is written, and an interrupted training starts again.
        training: Settings that the result depends on.
        runtime: Settings that it does not depend on.
        progress: Called at every step. If it raises ``Interrupted``, the state is saved first.
        loggers: Loggers in addition to those of ``runtime``, which need a folder; they stay open.
            A logger that fails is named once and left out.

    Returns:
        The trained bond.

    Raises:
        FreeBindError: A batch is larger than a subset, the loss is not finite, the weights have
            grown without bound, the folder belongs to another training, a checkpoint is damaged, or
            the disk is full.
    """
    training, runtime = training or Training(), runtime or Runtime()
    spec = describe_bond(pairs.spec, kind, training.hidden, training.pipeline)
    training = training.resolved(kind, pairs.spec.ranges)
    require_supported(training.precision)
    require_loggers(runtime.loggers)
    schedule = training.schedule(spec, pairs.spec.ranges)
    work = _Work(pairs, spec, training, runtime, schedule, progress, loggers)
    if folder is None:
        return Bond(spec, work.in_memory().variables)
    folder = Path(folder)
    with files.locked(folder):
        claim = claim_folder(folder, spec, training, len(schedule), pairs)
        return Bond(spec, work.in_folder(folder, claim).variables)


@dataclass(frozen=True)
class _Work:
    """One training, once everything is checked."""

    pairs: PairSet
    spec: BondSpec
    training: Training
    runtime: Runtime
    schedule: Schedule
    progress: StepProgress
    loggers: Sequence[Logger]

    def in_memory(self) -> TrainState:
        """Train without writing anything."""
        state = first_state(self.spec, self.training.seed)
        return self._run(state, 0, self._feed(), Loggers(self.loggers), None)

    def in_folder(self, folder: Path, claim: str) -> TrainState:
        """Train, or continue, with checkpoints and logs in a folder."""
        checkpoints, step, position = checkpoints_of(folder, claim), 0, None
        state = first_state(self.spec, self.training.seed)
        if steps := checkpoints.steps():
            step = steps[-1]
            state, position = checkpoints.restore(step, state)
        if step == len(self.schedule):
            return state
        with open_loggers(folder, step, self.runtime.loggers, self.loggers) as log:
            return self._run(state, step, self._feed(position), log, checkpoints)

    def _feed(self, iterator_state: dict[str, Any] | None = None) -> Feed:
        resident = self.pairs.spec.table_bytes() <= self.runtime.resident_bytes
        return Feed(
            self.schedule, self.pairs.columns, resident=resident, iterator_state=iterator_state
        )

    def _run(
        self,
        state: TrainState,
        step: int,
        feed: Feed,
        log: Loggers,
        checkpoints: Checkpoints | None,
    ) -> TrainState:
        objective = objective_for(self.pairs, self.spec, self.training, len(self.schedule))
        execution = self.runtime.lane_execution or default_execution()
        advance = partial(lanes_step, objective=objective, execution=execution)
        loop = Loop(self.schedule, feed, advance, checkpoints, log, self.runtime, self.progress)
        return loop.run(state, step)


def default_execution() -> LaneExecution:
    """Return how lanes run fastest: on a CPU one after another, since they share its caches."""
    return "map" if platform() == "cpu" else "vmap"
