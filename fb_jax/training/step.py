"""One training step of one member, or of the active member of every lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import optax
from jaxtyping import Array, Float, Int

from fb_jax.numerics import normalised
from fb_jax.projector import BondSpec, Direction, Projector, Variables, init_mixture
from fb_jax.pseudo import Column
from fb_jax.training.loss import TEMPERATURE, Loss, bond_loss

Batch = Mapping[Column, Float[Array, "*lanes b _"]]
"""Pseudo pairs: (side, modality) to unit rows."""

LaneExecution = Literal["map", "vmap"]
"""Run the lanes one after another, or batched. Both give the same numbers up to rounding."""


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Return Adam as the paper uses it: betas (0.9, 0.999), epsilon 1e-8 (torch's defaults)."""
    return optax.adam(learning_rate)


@dataclass(frozen=True)
class Objective:
    """What a member minimises, and with which settings.

    Attributes:
        projector: The member's module; the loss uses its precision too.
        direction: Which side is projected into which.
        source: Modalities of the projected side, in the order that BatchNorm sees them [O].
        target: Modalities of the target side.
        learning_rate: Learning rate of Adam, 1e-3 [P].
        temperature: Temperature of the loss, 1/50 [P].
        symmetric: True for InfoNCE in both directions [O].
        criterion: The loss.
        code: Digest of its code, so that no step compiled from other code is used.
    """

    projector: Projector
    direction: Direction
    source: tuple[str, ...]
    target: tuple[str, ...]
    learning_rate: float = 1e-3
    temperature: float = TEMPERATURE
    symmetric: bool = True
    criterion: Loss = bond_loss
    code: str = ""

    def loss(self, variables: Variables, batch: Batch) -> tuple[Float[Array, ""], Any]:
        """Return a member's loss (Eq. 7, 8) on a batch ``[b, d]`` and its new statistics.

        BatchNorm sees one modality at a time [C] and updates its running statistics after each.
        """
        stats, projected = variables.batch_stats, {}
        for modality in self.source:
            projected[modality], updated = self.projector.apply(
                variables._replace(batch_stats=stats).collections(),
                batch[self.direction.source, modality],
                train=True,
                mutable=["batch_stats"],
            )
            stats = updated["batch_stats"]
        rows = {modality: batch[self.direction.target, modality] for modality in self.target}
        target = {modality: normalised(x) for modality, x in rows.items()}
        value = self.criterion(
            projected,
            target,
            temperature=self.temperature,
            symmetric=self.symmetric,
            precision=self.projector.precision,
        )
        return value, stats


class TrainState(NamedTuple):
    """Everything that training changes; with a leading axis, for several members.

    Attributes:
        variables: The projector's numbers.
        optimiser: Adam's moments and step count.
    """

    variables: Variables
    optimiser: Any


@partial(jax.jit, static_argnames="spec")
def init_state(spec: BondSpec, key: Array) -> TrainState:
    """Return the state of a bond's mixture before the first step."""
    variables = init_mixture(spec.projector(), key, spec.dim_in, len(spec.members))
    return TrainState(variables, jax.vmap(adam(1e-3).init)(variables.params))


def member_step(
    objective: Objective, state: TrainState, batch: Batch
) -> tuple[TrainState, Float[Array, ""]]:
    """Take one Adam step with one member.

    Args:
        objective: What to minimise.
        state: The member's state.
        batch: The member's ``[b, d]`` rows.

    Returns:
        The next state, and the loss before the step.
    """

    def loss(params: Any) -> tuple[Float[Array, ""], Any]:
        return objective.loss(state.variables._replace(params=params), batch)

    (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(state.variables.params)
    updates, optimiser = adam(objective.learning_rate).update(gradients, state.optimiser)
    params = optax.apply_updates(state.variables.params, updates)
    return TrainState(Variables(params, stats), optimiser), value


@partial(jax.jit, static_argnames=("objective", "execution"), donate_argnames="state")
def lanes_step(
    state: TrainState, batch: Batch, *, objective: Objective, execution: LaneExecution
) -> tuple[TrainState, Float[Array, " lanes"]]:
    """Take one step with the active member of every lane.

    Args:
        state: One member for each lane; its memory is reused for the next state.
        batch: ``[lanes, b, d]`` rows.
        objective: What to minimise.
        execution: One lane after another, or batched.

    Returns:
        The lanes' next state, and their losses before the step.
    """
    one = partial(member_step, objective)
    if execution == "vmap":
        return jax.vmap(one)(state, batch)
    return jax.lax.map(lambda lane: one(*lane), (state, batch))


@jax.jit
def take_members(state: TrainState, members: Int[Array, " lanes"]) -> TrainState:
    """Return a copy of some members' states, one for each lane."""
    return jax.tree.map(lambda x: x[members], state)


@jax.jit
def put_members(state: TrainState, members: Int[Array, " lanes"], lanes: TrainState) -> TrainState:
    """Return the state with the lanes' members written back."""
    return jax.tree.map(lambda x, lane: x.at[members].set(lane), state, lanes)
