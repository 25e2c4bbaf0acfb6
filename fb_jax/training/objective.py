"""What a member of a bond minimises: FreeBind's objective, and what its rivals change (mcr.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from fb_jax.numerics import matmul, normalised
from fb_jax.projector import BondSpec, Variables
from fb_jax.pseudo import SIDES, Column, Side
from fb_jax.training.loss import TEMPERATURE, Loss, Rows, bond_loss, distillation

Batch = Mapping[Column, Float[Array, "*lanes b _"]]
"""Pseudo pairs: (side, modality) to unit rows."""

WEIGHT_DECAY = 0.01
"""Of AdamW: torch's default, since C-MCR and Ex-MCR do not tell theirs [O]."""


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Return Adam as the paper uses it: betas (0.9, 0.999), epsilon 1e-8 (torch's defaults)."""
    return optax.adam(learning_rate)


@dataclass(frozen=True)
class Objective:
    """What a member minimises, and with which settings.

    Attributes:
        spec: The bond; its projector's precision is that of the loss too.
        source: Modalities of the projected side, in the order that BatchNorm sees them [O].
        target: Modalities of the target side.
        learning_rate: Learning rate of Adam, 1e-3 [P].
        temperature: Temperature of the loss, 1/50 [P].
        noise: Variance of the noise that is added to every embedding.
        intra: Weight of ``inside``.
        ensemble: Weight of ``imitation``.
        symmetric: True for InfoNCE in both directions [O].
        precision: Precision of the matrix products.
        steps: Steps of the whole training, for the decay of the learning rate.
        seed: Seed of the noise.
        criterion: The loss.
        code: Digest of its code, so that no step compiled from other code is used.
    """

    spec: BondSpec
    source: tuple[str, ...]
    target: tuple[str, ...]
    learning_rate: float = 1e-3
    temperature: float = TEMPERATURE
    noise: float = 0.0
    intra: float = 0.0
    ensemble: float = 0.0
    symmetric: bool = True
    precision: Any = "float32"
    steps: int = 1
    seed: int = 0
    criterion: Loss = bond_loss
    code: str = ""

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam [P], or what the direction says."""
        if self.spec.direction.optimiser == "adam":
            return adam(self.learning_rate)
        rate = optax.cosine_decay_schedule(self.learning_rate, self.steps)
        return optax.adamw(rate, weight_decay=WEIGHT_DECAY)

    def loss(
        self, variables: Variables, batch: Batch, step: Array | int = 0
    ) -> tuple[Float[Array, ""], Any]:
        """Return a member's loss (Eq. 7, 8) on a batch ``[b, d]`` and its new statistics.

        Args:
            variables: The member's numbers.
            batch: Its rows.
            step: Steps that it has taken, which decide the noise.
        """
        batch, direction = self._noisy(batch, step), self.spec.direction
        variables, projected = self._side(variables, direction.source, self.source, batch)
        variables, target = self._side(variables, direction.target, self.target, batch)
        value = self.contrast(projected, target)
        if self.intra:
            value += self.intra * self.inside(variables, batch, projected, target)
        if self.ensemble:
            value += self.ensemble * self.imitation(batch, projected, target)
        return value, variables.batch_stats

    def contrast(self, projected: Rows, target: Rows) -> Float[Array, ""]:
        """Return the contrastive part of the loss: Eq. 7, 8."""
        return self.criterion(
            projected,
            target,
            temperature=self.temperature,
            symmetric=self.symmetric,
            precision=self.precision,
        )

    def inside(
        self, variables: Variables, batch: Batch, projected: Rows, target: Rows
    ) -> Float[Array, ""]:
        """Return the distance between the modalities of one space; FreeBind has none."""
        raise NotImplementedError

    def imitation(self, batch: Batch, projected: Rows, target: Rows) -> Float[Array, ""]:
        """Return how far the scores of fused rows are from the mean of the spaces' scores [O].

        Rows are fused at factors of 0.5. The sum is over every two modalities that a space has both
        of; the mean is over the spaces that have both.
        """
        parts = {m: [x[m] for x in (projected, target) if m in x] for m in (*projected, *target)}
        fused = {m: normalised(jnp.stack(both).sum(axis=0)) for m, both in parts.items()}
        term = partial(
            distillation,
            temperature=self.temperature,
            symmetric=self.symmetric,
            precision=self.precision,
        )
        terms = [
            term(fused[m], fused[n], jnp.stack(scores).mean(axis=0))
            for m, n in combinations(fused, 2)
            if (scores := self._scores(batch, m, n))
        ]
        return sum(terms, jnp.zeros(()))

    def _scores(self, batch: Batch, m: str, n: str) -> list[Float[Array, "b b"]]:
        """Return the scores of two modalities in every space that has both."""
        both = [side for side in SIDES if (side, m) in batch and (side, n) in batch]
        unit = [(normalised(batch[side, m]), normalised(batch[side, n])) for side in both]
        return [matmul(x, y.T, self.precision) for x, y in unit]

    def _side(
        self, variables: Variables, side: Side, modalities: tuple[str, ...], batch: Batch
    ) -> tuple[Variables, dict[str, Float[Array, "b d"]]]:
        """Return one side's rows in the target space, and the new statistics.

        BatchNorm sees one modality at a time [C] and updates its running statistics after each.
        """
        rows = {}
        for modality in modalities:
            route = self.spec.route(side, modality)
            if route is None:
                rows[modality] = normalised(batch[side, modality])
                continue
            rows[modality], updated = self.spec.projector(self.precision).apply(
                variables.collections(),
                batch[side, modality],
                train=True,
                route=route,
                mutable=["batch_stats"],
            )
            variables = variables._replace(batch_stats=updated["batch_stats"])
        return variables, rows

    def _noisy(self, batch: Batch, step: Array | int) -> Batch:
        """Return unit rows with Gaussian noise, the same at the same step."""
        if not self.noise:
            return batch
        key = jax.random.fold_in(jax.random.key(self.seed), step)
        keys = dict(zip(sorted(batch), jax.random.split(key, len(batch)), strict=True))
        add = lambda key, x: x + jnp.sqrt(self.noise) * jax.random.normal(key, x.shape)  # noqa: E731
        return {column: normalised(add(keys[column], rows)) for column, rows in batch.items()}
