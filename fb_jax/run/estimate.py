"""Operations, memory and disk that a run needs, from its sizes alone."""

from __future__ import annotations

from dataclasses import dataclass

from fb_jax.projector import BondSpec
from fb_jax.pseudo import PairSpec
from fb_jax.training import Schedule

FLOAT = 4
CHECKPOINTS_HELD = 3
"""Two are kept; a third exists while it is written."""


@dataclass(frozen=True)
class Estimate:
    """What a run needs.

    Attributes:
        parameters: Trained parameters of one projector.
        pairs_operations: Floating-point operations of the matrix products of soft retrieval.
        training_operations: Floating-point operations of training, forward and backward.
        pairs_disk: Bytes of the pseudo pairs on disk.
        checkpoints_disk: Bytes of the checkpoints on disk.
        table_memory: Bytes of the pairs as float32: held by training, or read from disk.
        step_memory: Rough bytes of a training step: states, batches, and the activations and scores
            of one lane (batched lanes hold those of every lane).
    """

    parameters: int
    pairs_operations: int
    training_operations: int
    pairs_disk: int
    checkpoints_disk: int
    table_memory: int
    step_memory: int


def estimate(spec: PairSpec, bond: BondSpec, schedule: Schedule) -> Estimate:
    """Return what a run needs."""
    direction, hidden, batch = bond.direction, bond.hidden, schedule.batch
    source, target = spec.modalities(direction.source), spec.modalities(direction.target)
    dim_out = bond.dim_out
    parameters = bond.parameters
    state = 3 * FLOAT * parameters * len(schedule.members)  # weights and Adam's two moments
    row = spec.table_bytes() // sum(map(len, spec.ranges.values()))
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
        table_memory=spec.table_bytes(),
        step_memory=2 * state + len(schedule.lanes) * row * batch + activations + scores,
    )
