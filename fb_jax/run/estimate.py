"""What a run will take: operations, memory and disk, from its sizes alone."""

from __future__ import annotations

from dataclasses import dataclass

from fb_jax.projector import DIRECTIONS, parameter_count
from fb_jax.pseudo import PairSpec
from fb_jax.run.config import RunConfig
from fb_jax.training import Schedule

FLOAT = 4
CHECKPOINTS_HELD = 3
"""Two are kept, and a third is there while it is written."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        parameters: Trained numbers of one projector.
        pairs_operations: Floating-point operations of the products of soft retrieval.
        training_operations: The same for training, forward and backward.
        pairs_disk: Bytes of the pseudo pairs on disk.
        checkpoints_disk: Bytes of the checkpoints on disk.
        table_memory: Bytes of the pairs as float32: what training holds, or reads from disk.
        step_memory: Bytes of a training step, roughly: states, batches, activations, scores.
    """

    parameters: int
    pairs_operations: int
    training_operations: int
    pairs_disk: int
    checkpoints_disk: int
    table_memory: int
    step_memory: int


def estimate(spec: PairSpec, schedule: Schedule, config: RunConfig) -> Estimate:
    """Work out what a run takes."""
    direction, hidden, batch = DIRECTIONS[config.bond], config.training.hidden, schedule.batch
    modalities = {
        "unified": spec.banks.modalities(spec.unified),
        "expert": spec.banks.modalities(spec.expert),
    }
    source, target = modalities[direction.source], modalities[direction.target]
    dim_in, dim_out = (
        spec.dim((direction.source, source[0])),
        spec.dim((direction.target, target[0])),
    )
    parameters = parameter_count(dim_in, dim_out, hidden)
    state = 3 * FLOAT * parameters * len(schedule.members)  # weights and Adam's two moments
    row = FLOAT * sum(bank.shape[1] for bank in spec.banks.banks.values())
    terms = len(source) * len(target)
    forward = 2 * batch * parameters * len(source) + 2 * batch * batch * dim_out * terms
    activations = FLOAT * batch * (3 * hidden + 2 * dim_out) * len(source)
    scores = 2 * FLOAT * batch * batch * terms
    return Estimate(
        parameters=parameters,
        pairs_operations=spec.operations(),
        training_operations=3 * forward * sum(schedule.steps),
        pairs_disk=spec.stored_bytes(),
        checkpoints_disk=CHECKPOINTS_HELD * state,
        table_memory=row * sum(map(len, schedule.starts.values())),
        step_memory=2 * state + len(schedule.lanes) * row * batch + activations + scores,
    )
