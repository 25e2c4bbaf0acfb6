"""One training step of one member, or of the active member of every lane."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import optax
from jaxtyping import Array, Float, Int

from fb_jax.projector import BondSpec, Variables
from fb_jax.training.objective import Batch, Objective

LaneExecution = Literal["map", "vmap"]
"""Run the lanes one after another, or batched. Both give the same numbers up to rounding."""


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
    variables = spec.init(key)
    return TrainState(variables, jax.vmap(Objective(spec, (), ()).optimiser.init)(variables.params))


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
        variables = state.variables._replace(params=params)
        return objective.loss(variables, batch, _steps_taken(state.optimiser))

    (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(state.variables.params)
    params = state.variables.params
    updates, optimiser = objective.optimiser.update(gradients, state.optimiser, params)
    params = optax.apply_updates(params, updates)
    return TrainState(Variables(params, stats), optimiser), value


def _steps_taken(optimiser: Any) -> Array:
    """Return the count of Adam, which is the first one of any optimiser here."""
    return optax.tree.get_all_with_path(optimiser, "count")[0][1]


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
