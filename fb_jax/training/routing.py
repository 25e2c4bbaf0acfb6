"""Training a router on pseudo item pairs, while everything else stays as it is.

    x_i = sum_b r_b(i) c_b(i)                    the item's row at its own weights         (R4)
    L   = mean over modalities o of InfoNCE(x_i, y_j) on the item pairs (i, j) of o        (R5)
        + w BCE(sigmoid(z(i)), t(i))             texts whose source is known               (R6)

c_b(i) is what block b adds to the item's unit row where all weights r are 1. x_i is linear in the
weights, and no unit row: trained on unit rows, a router gains less (docs/routers.md) [O]. y_j are
rows of the fused space. An item is in one pair of a batch only. Eq. R6 is OmniBind's second loss
[P], in the form that its sigmoid suggests [O]: t_b is 1 if the space of block b has the media that
the text describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Integer

from fb_jax.banks import Progress, no_progress
from fb_jax.errors import FreeBindError, require_range, unknown
from fb_jax.numerics import matmul, single_precision
from fb_jax.projector import SHAPES, Router, RouterSpec, Variables
from fb_jax.projector.router import weights_of

FAR = -1e30
"""Score of what does not count."""


@dataclass(frozen=True)
class Routing:
    """Settings of the training of routers: the same ones on the same rows give the same bits.

    Attributes:
        shape: Layers of a router: small or omnibind.
        steps: Updates of the weights, 1 to 1000000.
        batch: Item pairs in a batch, 2 to 1048576; all if there are fewer.
        learning_rate: Learning rate of Adam, 1e-08 to 1.
        temperature: Temperature of InfoNCE, 0.0001 to 100.
        items: Items of a modality that pairs are made of, 2 to 16777216, evenly spaced in the pool.
        mutual: Take only pairs whose items are each other's nearest.
        k: Scores whose mean corrects for hubs when items are paired, 1 to 16384.
        alpha: Weight of this correction, 0 to 1.
        source_weight: Weight of the loss on the sources of texts, 0 to 1000.
        seed: Seed of the initial weights and of the batches, 0 to 4294967295.
    """

    shape: str = "small"
    steps: int = 200
    batch: int = 1024
    learning_rate: float = 1e-3
    temperature: float = 0.05
    items: int = 16384
    mutual: bool = True
    k: int = 16
    alpha: float = 0.75
    source_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise unknown("shape of a router", self.shape, SHAPES)
        require_range("routing", 1, 1_000_000, steps=self.steps)
        require_range("routing", 2, 1 << 20, batch=self.batch)
        require_range("routing", 2, 1 << 24, items=self.items)
        require_range("routing", 1, 1 << 14, k=self.k)
        require_range("routing", 0, (1 << 32) - 1, seed=self.seed)
        require_range("routing", 1e-8, 1.0, learning_rate=self.learning_rate)
        require_range("routing", 1e-4, 100.0, temperature=self.temperature)
        require_range("routing", 0.0, 1.0, alpha=self.alpha)
        require_range("routing", 0.0, 1000.0, source_weight=self.source_weight)


class RoutingRows(NamedTuple):
    """The rows that a router is trained on.

    Attributes:
        inputs: ``[n, d_in]`` native rows of the items, side by side.
        blocks: ``[n, b, d]``, c of Eq. R4.
        others: Modality to ``[m, d]`` fused rows.
        sources: ``[n, b]``, t of Eq. R6, or -1 where the source is unknown; None: of no item.
    """

    inputs: Float[Array, "n d_in"]
    blocks: Float[Array, "n b d"]
    others: Mapping[str, Float[Array, "_ d"]]
    sources: Float[Array, "n b"] | None = None


def pair_loss(
    x: Float[Array, "p d"],
    y: Float[Array, "p d"],
    kept: Bool[Array, " p"],
    temperature: float,
) -> Float[Array, ""]:
    """Return InfoNCE in both directions over the pairs that are kept (Eq. R5).

    Args:
        x: ``[p, d]`` rows of the first items.
        y: ``[p, d]`` unit rows of the second items.
        kept: Which pairs count, as pairs and as negatives of others.
        temperature: Of the scores.
    """
    scores = matmul(x, y.T) / temperature
    scores = jnp.where(kept[:, None] & kept, scores, FAR)
    both = [jax.nn.logsumexp(scores, axis=axis) for axis in (0, 1)]
    terms = (both[0] + both[1]) / 2 - jnp.diagonal(scores)
    return jnp.where(kept, terms, 0).sum() / kept.sum()


def distinct(pairs: Integer[np.ndarray, "p 2"]) -> Bool[np.ndarray, " p"]:
    """Return which pairs to keep, so that no item is in two of them; earlier ones come first.

    Many items may have the same nearest one, most of them wrongly: each item counts once.
    """
    second = np.sort(np.unique(pairs[:, 1], return_index=True)[1])
    first = np.unique(pairs[second, 0], return_index=True)[1]
    kept = np.zeros(len(pairs), bool)
    kept[second[first]] = True
    return kept


class Batch(NamedTuple):
    """Some pairs.

    Attributes:
        pairs: ``[p, 2]`` rows of both items.
        kept: Which of them count; see ``distinct``.
    """

    pairs: Int[Array, "p 2"]
    kept: Bool[Array, " p"]


def source_loss(logits: Float[Array, "p b"], sources: Float[Array, "p b"]) -> Float[Array, ""]:
    """Return the mean binary cross-entropy of known sources (Eq. R6); 0 without any."""
    known = sources >= 0
    terms = optax.sigmoid_binary_cross_entropy(logits, jnp.where(known, sources, 0.5))
    return jnp.where(known, terms, 0).sum() / jnp.maximum(known.sum(), 1)


@dataclass(frozen=True)
class Objective:
    """What a router minimises.

    Attributes:
        spec: The router.
        settings: See ``Routing``.
    """

    spec: RouterSpec
    settings: Routing = field(default_factory=Routing)

    def loss(
        self, params: Any, stats: Any, rows: RoutingRows, pairs: Mapping[str, Batch]
    ) -> tuple[Float[Array, ""], Any]:
        """Return Eq. R5 and R6 on a batch of pairs for each other modality, and new statistics."""
        batches = list(pairs.values())
        items = jnp.concatenate([batch.pairs[:, 0] for batch in batches])
        net, how = self.spec.net(), self.settings
        variables = {"params": params, "batch_stats": stats}
        logits, changed = net.apply(
            variables, rows.inputs[items], train=True, mutable=["batch_stats"]
        )
        weights = weights_of(logits, self.spec.shape.sigmoid, self.spec.scale)
        routed = jnp.einsum("pb,pbd->pd", weights, rows.blocks[items])
        sides = jnp.split(routed, len(batches))
        terms = [
            pair_loss(x, rows.others[other][batch.pairs[:, 1]], batch.kept, how.temperature)
            for x, (other, batch) in zip(sides, pairs.items(), strict=True)
        ]
        value = sum(terms, jnp.zeros(())) / len(terms)
        if rows.sources is not None:
            value = value + how.source_weight * source_loss(logits, rows.sources[items])
        return value, changed.get("batch_stats", {})


class RoutingState(NamedTuple):
    """Everything that a step changes."""

    params: Any
    stats: Any
    optimiser: Any


def init_routing(objective: Objective) -> RoutingState:
    """Return the state before the first step."""
    key, spec = jax.random.key(objective.settings.seed), objective.spec
    made = spec.net().init(key, jnp.zeros((2, sum(spec.dims))), train=True)
    adam = optax.adam(objective.settings.learning_rate)
    return RoutingState(made["params"], made.get("batch_stats", {}), adam.init(made["params"]))


@partial(jax.jit, static_argnames="objective", donate_argnames="state")
def routing_step(
    state: RoutingState,
    rows: RoutingRows,
    pairs: Mapping[str, Batch],
    *,
    objective: Objective,
) -> tuple[RoutingState, Float[Array, ""]]:
    """Take one step of Adam on a batch of pairs; return the next state and the loss before it."""
    gradient = jax.value_and_grad(objective.loss, has_aux=True)
    (value, stats), slopes = gradient(state.params, state.stats, rows, pairs)
    adam = optax.adam(objective.settings.learning_rate)
    updates, optimiser = adam.update(slopes, state.optimiser)
    return RoutingState(optax.apply_updates(state.params, updates), stats, optimiser), value


@single_precision()
def train_router(
    spec: RouterSpec,
    rows: RoutingRows,
    pairs: Mapping[str, Integer[np.ndarray, "_ 2"]],
    settings: Routing,
    progress: Progress = no_progress,
) -> Router:
    """Train a router.

    Args:
        spec: What to train.
        rows: See ``RoutingRows``.
        pairs: Other modality to ``[p, 2]`` pairs of an item of ``rows.inputs`` and one of its own.
        settings: See ``Routing``.
        progress: Called with 1 after every step.

    Raises:
        FreeBindError: There are fewer than two pairs, or the numbers have grown without bound.
    """
    _require_pairs(spec.modality, pairs)
    objective, rng = Objective(spec, settings), np.random.default_rng(settings.seed)
    size = min(settings.batch, *map(len, pairs.values()))
    rows, state = jax.tree.map(jnp.asarray, rows), init_routing(objective)
    for _ in range(settings.steps):
        drawn = {o: p[rng.choice(len(p), size, replace=False)] for o, p in pairs.items()}
        batch = {o: Batch(jnp.asarray(p), jnp.asarray(distinct(p))) for o, p in drawn.items()}
        state, _ = routing_step(state, rows, batch, objective=objective)
        progress(1)
    router = spec.folded(jax.device_get(Variables(state.params, state.stats)))
    if not np.isfinite(router.vector).all():
        raise FreeBindError(
            "the numbers of a router are not finite",
            where=spec.modality,
            fix="train with a lower --routing.learning-rate or a higher --routing.temperature",
        )
    return router


def _require_pairs(modality: str, pairs: Mapping[str, Integer[np.ndarray, "_ 2"]]) -> None:
    for other, found in pairs.items():
        if len(found) < 2:
            raise FreeBindError(
                "a router needs item pairs that differ",
                where=f"{modality}, {other}",
                expected="2 pairs or more",
                got=len(found),
                fix="take a larger pool, more --routing.items, or --routing.no-mutual",
            )
