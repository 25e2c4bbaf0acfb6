"""Settings of a training: what the result depends on, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fb_jax.errors import FreeBindError, require_positive
from fb_jax.numerics import Precision, dot_precision
from fb_jax.projector import DIRECTIONS, BondKind
from fb_jax.training.loss import TEMPERATURE
from fb_jax.training.schedule import Schedule
from fb_jax.training.step import Across


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
        if self.seed < 0:
            raise FreeBindError("a seed is a whole number from 0", got=self.seed)
        dot_precision(self.precision)

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

    def __post_init__(self) -> None:
        require_positive(
            "runtime", checkpoint_steps=self.checkpoint_steps, log_steps=self.log_steps
        )
