"""Training a bond: all members of its mixture, in lanes, from pseudo pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from fb_jax.banks import files
from fb_jax.errors import FreeBindError, Interrupted, require_positive
from fb_jax.numerics import Precision
from fb_jax.projector import (
    DIRECTIONS,
    Bond,
    BondKind,
    Projector,
    Subset,
    Variables,
    subset_name,
    subsets,
)
from fb_jax.pseudo import SIDES, PairSet
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.feed import Feed
from fb_jax.training.log import TrainLog
from fb_jax.training.loss import TEMPERATURE
from fb_jax.training.schedule import Schedule, Segment
from fb_jax.training.step import (
    Across,
    Objective,
    TrainState,
    init_state,
    lanes_step,
    put_members,
    take_members,
)

BOND_FILE = "bond.json"

StepProgress = Callable[[int, float], None]
"""Called with the steps just taken and the last mean loss; may raise ``Interrupted`` to stop."""


@dataclass(frozen=True)
class Training:
    """How a bond is trained: the same settings on the same pairs give the same bits.

    Attributes:
        batch: Pairs a step and member, 4096 in the paper [P].
        epochs: Passes over a member's own pairs; None takes the bond's: 5 for displacement, 20
            for combination [P].
        hidden: Width of the projectors.
        learning_rate: Of Adam, 1e-3 [P].
        temperature: Of InfoNCE, 1/50 [P].
        symmetric: InfoNCE in both directions [O].
        precision: Of the matrix products.
        seed: Of first weights and shuffling.
    """

    batch: int = 4096
    epochs: int | None = None
    hidden: int = 2048
    learning_rate: float = 1e-3
    temperature: float = TEMPERATURE
    symmetric: bool = True
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(
            "training",
            batch=self.batch,
            epochs=self.epochs,
            hidden=self.hidden,
            learning_rate=self.learning_rate,
            temperature=self.temperature,
        )

    def resolved(self, kind: BondKind) -> Training:
        """Return the settings with the epochs filled in."""
        epochs = DIRECTIONS[kind].epochs if self.epochs is None else self.epochs
        return replace(self, epochs=epochs)

    def schedule(self, kind: BondKind, starts: Mapping[str, range]) -> Schedule:
        """Return the steps of training a bond on pairs with these starts."""
        epochs = self.resolved(kind).epochs
        assert epochs is not None
        return Schedule(starts, batch=self.batch, epochs=epochs, seed=self.seed)


@dataclass(frozen=True)
class Runtime:
    """What does not change the result: how a training runs and how often it saves and tells.

    Attributes:
        checkpoint_steps: Steps between checkpoints.
        checkpoint_minutes: At most so long between checkpoints, whichever comes first.
        log_steps: Steps between log lines; losses are checked for NaN at each.
        resident_bytes: Pairs of up to so many bytes (as float32) are held on the device.
        across: How lanes run; None takes what is faster on the device, see docs/benchmarks.md.
    """

    checkpoint_steps: int = 1000
    checkpoint_minutes: float = 10.0
    log_steps: int = 10
    resident_bytes: int = 4 << 30
    across: Across | None = None


@dataclass(frozen=True)
class BondForm:
    """The shape of a bond: what its checkpoints hold, and so what is needed to read them.

    Attributes:
        kind: Its direction.
        unified: Name of the unified space.
        expert: Name of the expert space.
        shared: Modalities of the expert.
        members: The starts that each member is trained on.
        dim_in: Dimension of the source space.
        dim_out: Dimension of the target space.
        hidden: Width of the projectors.
        precision: Of the matrix products.
    """

    kind: BondKind
    unified: str
    expert: str
    shared: tuple[str, ...]
    members: tuple[Subset, ...]
    dim_in: int
    dim_out: int
    hidden: int
    precision: Precision

    @property
    def projector(self) -> Projector:
        """The form of every member."""
        return Projector(self.dim_out, self.hidden, self.precision)

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> BondForm:
        """Return the form that ``dataclasses.asdict`` made this JSON from."""
        members = tuple(tuple(subset) for subset in form["members"])
        return cls(**{**form, "shared": tuple(form["shared"]), "members": members})

    def bond(self, variables: Variables) -> Bond:
        """Return the bond with these numbers."""
        return Bond(
            kind=self.kind,
            unified=self.unified,
            expert=self.expert,
            shared=self.shared,
            members=self.members,
            projector=self.projector,
            variables=variables,
        )

    def first_state(self, seed: int) -> TrainState:
        """Return the state before the first step."""
        return init_state(
            jax.random.key(seed),
            projector=self.projector,
            dim=self.dim_in,
            members=len(self.members),
        )


def form_for(pairs: PairSet, kind: BondKind, how: Training) -> BondForm:
    """Return the form of the bond that these settings train on these pairs."""
    spec, direction = pairs.spec, DIRECTIONS[kind]
    dims = {side: spec.dim((side, pairs.modalities(side)[0])) for side in SIDES}
    return BondForm(
        kind=kind,
        unified=spec.unified,
        expert=spec.expert,
        shared=pairs.modalities("expert"),
        members=subsets(spec.starts),
        dim_in=dims[direction.source],
        dim_out=dims[direction.target],
        hidden=how.hidden,
        precision=how.precision,
    )


def objective_for(pairs: PairSet, form: BondForm, how: Training) -> Objective:
    """Return what the members of a bond minimise on these pairs."""
    direction = DIRECTIONS[form.kind]
    return Objective(
        projector=form.projector,
        direction=direction,
        source=pairs.modalities(direction.source),
        target=pairs.modalities(direction.target),
        learning_rate=how.learning_rate,
        temperature=how.temperature,
        symmetric=how.symmetric,
    )


def table_bytes(pairs: PairSet) -> int:
    """Return the bytes of all columns of the pairs as float32."""
    return sum(4 * len(pairs) * rows.shape[1] for rows in pairs.columns.values())


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
    how, runtime = (how or Training()).resolved(kind), runtime or Runtime()
    schedule = how.schedule(kind, pairs.spec.ranges)
    form = form_for(pairs, kind, how)
    _claim(folder, form, how, len(schedule), pairs.fingerprint())
    checkpoints = Checkpoints(folder / "checkpoints")
    step, place, state = 0, None, form.first_state(how.seed)
    if steps := checkpoints.steps():
        step = steps[-1]
        state, place = checkpoints.restore(step, state)
    if step < len(schedule):
        resident = table_bytes(pairs) <= runtime.resident_bytes
        feed = Feed(schedule, pairs.columns, resident=resident, place=place)
        advance = partial(
            lanes_step,
            objective=objective_for(pairs, form, how),
            across=runtime.across or default_across(),
        )
        with TrainLog(folder, step) as log:
            loop = _Loop(schedule, feed, advance, checkpoints, log, runtime, progress)
            state = loop.run(state, step)
    return form.bond(state.variables)


def _claim(folder: Path, form: BondForm, how: Training, steps: int, pairs: str) -> None:
    identity = {
        "format": "freebind-bond",
        "version": 1,
        "form": asdict(form),
        "training": asdict(how),
        "steps": steps,
        "pairs": pairs,
    }
    files.claim(folder / BOND_FILE, identity, "checkpoints")


def load_bond(folder: Path) -> Bond:
    """Read a trained bond from its training folder; neither pairs nor banks are needed.

    Raises:
        FreeBindError: There is none, its training is unfinished, or its checkpoint is damaged.
    """
    found = files.read_json(folder / BOND_FILE)
    form = BondForm.from_json(found["form"])
    checkpoints = Checkpoints(folder / "checkpoints")
    if found["steps"] not in (steps := checkpoints.steps()):
        raise FreeBindError(
            "this bond is not trained to its end",
            where=folder,
            expected=f"a checkpoint of step {found['steps']}",
            got=f"checkpoints of steps {steps}",
            fix="run the training command again: it goes on where it stopped",
        )
    state, _ = checkpoints.restore(found["steps"], jax.eval_shape(form.first_state, 0))
    return form.bond(state.variables)


@dataclass
class _Loop:
    """Steps, and what happens between them: logging, checkpoints, stopping."""

    schedule: Schedule
    feed: Feed
    advance: Callable[..., tuple[TrainState, jax.Array]]
    checkpoints: Checkpoints
    log: TrainLog
    runtime: Runtime
    progress: StepProgress
    last_loss: float = float("nan")

    def run(self, state: TrainState, step: int) -> TrainState:
        """Train from a step to the end."""
        self.unchecked: list[tuple[int, tuple[int, ...], jax.Array]] = []
        self.rows = 0
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
        named = dict(zip(self._names(members), losses.tolist(), strict=True))
        now = time.monotonic()
        self.log.write(step, named, self.rows / max(now - self.logged_at, 1e-9))
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
        last = (self.checkpoints.steps() or [0])[-1]
        raise FreeBindError(
            "the loss is not finite",
            where=f"step {step}, projector {self._names(members)[int(np.argmin(finite))]}",
            expected="a finite loss and finite weights",
            got=f"NaN or infinity; the last good checkpoint, step {last}, is kept",
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
        self.checkpoints.save(step, state, self.feed.place)
        self.saved_at = time.monotonic()


@jax.jit
def _finite_members(state: TrainState) -> Bool[Array, " members"]:
    leaves = [jnp.isfinite(x).reshape(len(x), -1).all(axis=1) for x in jax.tree.leaves(state)]
    return jnp.stack(leaves).all(axis=0)


def default_across() -> Across:
    """Return how lanes run fastest here: one behind the other on a CPU, whose caches they share."""
    return "map" if jax.default_backend() == "cpu" else "vmap"
