"""What C-MCR (arXiv 2305.14381) and Ex-MCR (arXiv 2310.08884) minimise.

Both add noise to every embedding and L2-normalise it again (their "semantic completion"), and both
pull the modalities of one space together. Equation numbers and settings are from memory [M].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.projector import PipelineName, Variables
from fb_jax.projector.mcr import GAP
from fb_jax.training.loss import Rows, info_nce
from fb_jax.training.objective import Batch, Objective


def distance(x: Float[Array, "b d"], y: Float[Array, "b d"]) -> Float[Array, ""]:
    """Return the mean L2 distance of row i of ``x`` and row i of ``y``, not squared [M]."""
    square = jnp.square(x - y).sum(axis=1)
    return jnp.sqrt(jnp.maximum(square, 1e-12)).mean()


class _Mcr(Objective):
    """What both have in common."""

    def info(self, x: Float[Array, "b d"], y: Float[Array, "b d"]) -> Float[Array, ""]:
        """Return InfoNCE with the settings of the training."""
        return info_nce(
            x, y, temperature=self.temperature, symmetric=self.symmetric, precision=self.precision
        )


@dataclass(frozen=True)
class Connecting(_Mcr):
    """C-MCR: inter-space InfoNCE of the bridge and of its soft partners, and an intra-space term.

    With several partners in a space, which C-MCR does not have, terms are averaged [O].
    """

    def contrast(self, projected: Rows, target: Rows) -> Float[Array, ""]:
        """Return ``info(b, b) + mean info(x, y)`` for the bridge b and all other x, y [M: 6, 7]."""
        (bridge,) = self.spec.members[0]
        others = [
            self.info(projected[m], target[n])
            for m in projected
            for n in target
            if bridge not in (m, n)
        ]
        return self.info(projected[bridge], target[bridge]) + jnp.mean(jnp.stack(others))

    def inside(
        self, variables: Variables, batch: Batch, projected: Rows, target: Rows
    ) -> Float[Array, ""]:
        """Return the distance of the modalities of a space, mean over projected spaces [M: 8]."""
        spaces = [projected, target] if self.spec.direction.new else [projected]
        pairs = [pair for rows in spaces for pair in combinations(rows.values(), 2)]
        return jnp.mean(jnp.stack([distance(x, y) for x, y in pairs]))


@dataclass(frozen=True)
class Extending(_Mcr):
    """Ex-MCR: InfoNCE of every modality with every other space's, and a term on f_l alone."""

    def contrast(self, projected: Rows, target: Rows) -> Float[Array, ""]:
        """Return the mean InfoNCE of all pairs of modalities (dense alignment) [M]."""
        terms = [self.info(x, y) for x in projected.values() for y in target.values()]
        return jnp.mean(jnp.stack(terms))

    def inside(
        self, variables: Variables, batch: Batch, projected: Rows, target: Rows
    ) -> Float[Array, ""]:
        """Return the distance of f_l(x) to the modalities that both spaces have [M].

        x are the modalities that the target lacks; without one it is 0 [O].
        """
        side = self.spec.direction.source
        own = {m: batch[side, m] for m in self.source}
        far = [m for m in own if self.spec.route(side, m) == GAP]
        network = self.spec.projector(self.precision)
        closed = [
            network.apply(variables.collections(), own[m], method=network.closed) for m in far
        ]
        near = [own[m] for m in own if m not in far]
        terms = [distance(x, y) for x in closed for y in near]
        return jnp.mean(jnp.stack(terms)) if terms else jnp.zeros(())


OBJECTIVES: Mapping[PipelineName, type[Objective]] = {
    "freebind": Objective,
    "cmcr": Connecting,
    "exmcr": Extending,
}
