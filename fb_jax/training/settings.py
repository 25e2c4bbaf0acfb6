"""Settings of a training: what the result depends on, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from fb_jax.errors import notice_once, require_range, unknown
from fb_jax.numerics import Precision, require_precision
from fb_jax.projector import DIRECTIONS, BondKind
from fb_jax.registry import LOSSES
from fb_jax.training.loss import TEMPERATURE
from fb_jax.training.schedule import Schedule
from fb_jax.training.step import LaneExecution

PAPER_BATCH, EPOCH_STEPS = 4096, 8
MOST_LEFT_OUT = 1 / EPOCH_STEPS
"""Share of a projector's pairs that an epoch may leave out without a notice."""


def batch_for(items: int) -> int:
    """Return the paper's batch if a pool has 8 of them, else the largest power of two it has 8 of.

    Args:
        items: Items of the smallest modality in the pool.
    """
    return min(PAPER_BATCH, max(2, 1 << max(1, items // EPOCH_STEPS).bit_length() - 1))


@dataclass(frozen=True)
class Training:
    """Settings that the result depends on: the same ones on the same pairs give the same bits.

    Attributes:
        batch: Pairs in a batch, 2 to 1048576. By default the paper's 4096 where the smallest
            modality of the pool has 8 batches, else the largest power of two that it has 8 of.
        epochs: Passes over a projector's own pairs, 1 to 100000. By default the paper's: 5 for a
            displacement or a direct sum, 20 for a combination.
        hidden: Width of the projectors' hidden layer, 1 to 65536.
        loss: Name of the loss: info_nce, or your own as module:function.
        learning_rate: Learning rate of Adam, 1e-08 to 1.
        temperature: Temperature of the loss, 0.0001 to 100; the paper's is 1/50.
        symmetric: Use InfoNCE in both directions.
        precision: Precision of the matrix products: float32, tf32 (on a GPU) or bf16.
        seed: Seed of the initial weights and of the shuffling, 0 to 4294967295.
    """

    batch: int | None = None
    epochs: int | None = None
    hidden: int = 2048
    loss: str = "info_nce"
    learning_rate: float = 1e-3
    temperature: float = TEMPERATURE
    symmetric: bool = True
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch is not None:  # one pair has nothing to contrast
            require_range("training", 2, 1 << 20, batch=self.batch)
        if self.epochs is not None:
            require_range("training", 1, 100_000, epochs=self.epochs)
        require_range("training", 1, 1 << 16, hidden=self.hidden)
        require_range("training", 1e-8, 1.0, learning_rate=self.learning_rate)
        require_range("training", 1e-4, 100.0, temperature=self.temperature)
        require_range("training", 0, (1 << 32) - 1, seed=self.seed)  # JAX drops higher bits
        require_precision(self.precision)

    def resolved(self, kind: BondKind, starts: Mapping[str, range]) -> Training:
        """Return the settings with epochs and batch filled in, for pairs with these starts."""
        epochs = DIRECTIONS[kind].epochs if self.epochs is None else self.epochs
        smallest = min(map(len, starts.values()))
        return replace(self, epochs=epochs, batch=self.batch or batch_for(smallest))

    def schedule(self, kind: BondKind, starts: Mapping[str, range]) -> Schedule:
        """Return the steps of training a bond on pairs with these starts.

        A notice says so if an epoch leaves out more than an eighth of a projector's pairs.
        """
        whole = self.resolved(kind, starts)
        assert whole.epochs is not None
        assert whole.batch is not None
        schedule = Schedule(starts, batch=whole.batch, epochs=whole.epochs, seed=self.seed)
        if schedule.left_out > MOST_LEFT_OUT:
            less = "; a smaller batch uses more" if whole.batch > 2 else ""
            notice_once(
                f"batch {whole.batch}: an epoch leaves out up to {100 * schedule.left_out:.0f} % "
                f"of a projector's pairs, which do not fill a batch{less}"
            )
        return schedule

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes a result with these settings, as JSON: also the loss's code."""
        return {**asdict(self), "loss": LOSSES.identity(self.loss)}


@dataclass(frozen=True)
class Runtime:
    """Settings that the result does not depend on: speed, memory, saving and logging.

    Attributes:
        checkpoint_steps: Steps between checkpoints, 1 to 1000000000.
        checkpoint_minutes: Minutes between checkpoints, if that comes first, 0 to 100000.
        log_steps: Steps between log lines, 1 to 1000000000; losses are checked for NaN at each.
        resident_bytes: Pairs of at most this size (bytes as float32, 0 to 2^60) are held on the
            device.
        lane_execution: map runs the lanes one after another, vmap batched. By default map on a CPU
            and vmap on a GPU.
        loggers: Where losses go, apart from metrics.jsonl: tensorboard, wandb, mlflow, or your own
            as module:function.
    """

    checkpoint_steps: int = 1000
    checkpoint_minutes: float = 10.0
    log_steps: int = 10
    resident_bytes: int = 4 << 30
    lane_execution: LaneExecution | None = None
    loggers: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        steps = {"checkpoint_steps": self.checkpoint_steps, "log_steps": self.log_steps}
        require_range("runtime", 1, 10**9, **steps)
        require_range("runtime", 0.0, 1e5, checkpoint_minutes=self.checkpoint_minutes)
        require_range("runtime", 0, 1 << 60, resident_bytes=self.resident_bytes)
        if self.lane_execution not in (None, *get_args(LaneExecution)):
            raise unknown("lane execution", str(self.lane_execution), get_args(LaneExecution))
