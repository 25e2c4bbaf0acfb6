"""Settings of a training: what the result depends on, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from fb_jax.errors import FreeBindError, notice_once, require_range, unknown
from fb_jax.numerics import Precision, require_precision
from fb_jax.projector import DIRECTIONS, PIPELINES, BondKind, BondSpec, PipelineName
from fb_jax.registry import LOSSES
from fb_jax.training.schedule import Schedule
from fb_jax.training.step import LaneExecution

PAPER_BATCH, EPOCH_STEPS = 4096, 8
RANGES = (
    ("hidden", 1, 1 << 16),
    ("learning_rate", 1e-8, 1.0),
    ("temperature", 1e-4, 100.0),
    ("noise", 0.0, 1.0),
    ("intra", 0.0, 1000.0),
    ("ensemble", 0.0, 1000.0),
)
"""Lowest and highest value of settings that may be left out."""

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
        pipeline: What the projectors are and what they minimise: freebind, or its rivals in the
            paper's Table 9, cmcr and exmcr. By default the bond's own.
        hidden: Width of the projectors' hidden layer, 1 to 65536. By default the pipeline's: 2048,
            or 1024 for cmcr and exmcr.
        loss: Name of the loss: info_nce, or your own as module:function.
        learning_rate: Learning rate of Adam, 1e-08 to 1.
        temperature: Temperature of the loss, 0.0001 to 100. By default the pipeline's: 1/50, 1/100
            for cmcr, 1/20 for exmcr.
        noise: Variance of the Gaussian noise on every embedding, 0 to 1. By default the pipeline's:
            0, or 0.004 for cmcr and exmcr.
        intra: Weight of the distance between the modalities of one space, 0 to 1000. By default the
            pipeline's: 0, or 0.1 for cmcr and exmcr, which alone know it.
        ensemble: Weight of a term by which fused rows learn to score as the mean of the spaces'
            scores, 0 to 1000. FreeBind has none; on the word world 6 is better.
        symmetric: Use InfoNCE in both directions.
        precision: Precision of the matrix products: float32, tf32 (on a GPU) or bf16.
        seed: Seed of the initial weights and of the shuffling, 0 to 4294967295.
    """

    batch: int | None = None
    epochs: int | None = None
    pipeline: PipelineName | None = None
    hidden: int | None = None
    loss: str = "info_nce"
    learning_rate: float = 1e-3
    temperature: float | None = None
    noise: float | None = None
    intra: float | None = None
    ensemble: float = 0.0
    symmetric: bool = True
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch is not None:  # one pair has nothing to contrast
            require_range("training", 2, 1 << 20, batch=self.batch)
        if self.epochs is not None:
            require_range("training", 1, 100_000, epochs=self.epochs)
        for name, low, high in RANGES:
            if getattr(self, name) is not None:
                require_range("training", low, high, **{name: getattr(self, name)})
        if self.pipeline not in (None, *PIPELINES):
            raise unknown("pipeline", str(self.pipeline), PIPELINES)
        require_range("training", 0, (1 << 32) - 1, seed=self.seed)  # JAX drops higher bits
        require_precision(self.precision)

    def resolved(self, kind: BondKind, starts: Mapping[str, range]) -> Training:
        """Return the settings with all that has a default filled in, for pairs with these starts.

        Raises:
            FreeBindError: A setting is of no use in the pipeline.
        """
        pipeline = self.pipeline or DIRECTIONS[kind].pipeline
        defaults = vars(PIPELINES[pipeline])
        smallest = min(map(len, starts.values()))
        known = {"epochs": DIRECTIONS[kind].epochs, "batch": batch_for(smallest)}
        known |= {n: defaults[n] for n in ("hidden", "temperature", "noise", "intra")}
        missing: dict[str, Any] = {n: x for n, x in known.items() if getattr(self, n) is None}
        whole = replace(self, pipeline=pipeline, **missing)
        whole._require_of_use(kind)
        return whole

    def _require_of_use(self, kind: BondKind) -> None:
        """Raise a FreeBindError for a setting that the pipeline or the bond does not know."""
        if self.ensemble and (self.pipeline != "freebind" or DIRECTIONS[kind].direct):
            raise FreeBindError(
                "this training has no fused rows that could imitate an ensemble",
                where="--training.ensemble",
                got=f"{kind}, pipeline {self.pipeline}",
                fix="leave it out, or train a combination or a displacement of FreeBind's",
            )
        if self.pipeline == "freebind" and self.intra:
            raise FreeBindError(
                "FreeBind has no distance inside a space",
                where="--training.intra",
                fix="leave it out, or use --training.pipeline cmcr or exmcr",
            )
        if self.pipeline != "freebind" and self.loss != "info_nce":
            raise FreeBindError(
                f"{self.pipeline} has a loss of its own",
                where="--training.loss",
                got=self.loss,
                fix="leave it out, or use --training.pipeline freebind",
            )

    def schedule(self, bond: BondSpec, starts: Mapping[str, range]) -> Schedule:
        """Return the steps of training a bond on pairs with these starts.

        A notice says so if an epoch leaves out more than an eighth of a projector's pairs.
        """
        whole = self.resolved(bond.kind, starts)
        assert whole.epochs is not None
        assert whole.batch is not None
        schedule = Schedule(
            starts,
            batch=whole.batch,
            epochs=whole.epochs,
            seed=self.seed,
            members=bond.members,
        )
        if schedule.left_out > MOST_LEFT_OUT:
            less = "; a smaller batch uses more" if whole.batch > 2 else ""
            notice_once(
                f"batch {whole.batch}: an epoch leaves out up to {100 * schedule.left_out:.0f} % "
                f"of a projector's pairs, which do not fill a batch{less}"
            )
        return schedule

    def identity(self) -> dict[str, Any]:
        """Return what distinguishes a result with these settings, as JSON: also the loss's code.

        What earlier versions did not know is left out where it is FreeBind's.
        """
        later = {"pipeline": "freebind", "noise": 0.0, "intra": 0.0, "ensemble": 0.0}
        known = {name: x for name, x in asdict(self).items() if later.get(name, ...) != x}
        return {**known, "loss": LOSSES.identity(self.loss)}


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
