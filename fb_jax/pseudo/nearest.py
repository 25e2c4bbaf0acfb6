"""Hard retrieval: the values of the one nearest key, as items are paired in OmniBind [P].

It is ``A(q; K -> V)`` in the limit of tau = 0. Hops that share query and keys take the same item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fb_jax.numerics import Precision, matmul
from fb_jax.pseudo.aggregate import TAU, Chunks, KeyBlock
from fb_jax.registry import RETRIEVALS


class Best(NamedTuple):
    """The nearest key of each of ``q`` queries so far.

    Attributes:
        peak: ``[q]``, its score.
        values: ``[q, d_v]``, its row in each value bank.
    """

    peak: Float[Array, " q"]
    values: tuple[Float[Array, "q _"], ...]


@partial(jax.jit, static_argnames=("inner", "precision"))
def _add_keys(
    best: Best, queries: Float[Array, "q d"], block: KeyBlock, *, inner: int, precision: Precision
) -> Best:
    def step(part: tuple[Best, Array]) -> Best:
        so_far, rows = part
        scores = matmul(rows, block.keys.T, precision)
        scores = jnp.where(jnp.arange(len(block.keys)) < block.size, scores, -jnp.inf)
        key, peak = scores.argmax(axis=1), scores.max(axis=1)
        nearer = peak > so_far.peak  # among equal scores, the first key
        values = zip(block.values, so_far.values, strict=True)
        chosen = tuple(jnp.where(nearer[:, None], new[key], old) for new, old in values)
        return Best(jnp.where(nearer, peak, so_far.peak), chosen)

    split = partial(jax.tree.map, lambda x: x.reshape(-1, inner, *x.shape[1:]))
    found: Best = jax.lax.map(step, (split(best), split(queries)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)


@RETRIEVALS.register("nearest")
def nearest_values(
    queries: Float[Array, "q d"],
    blocks: Iterable[KeyBlock],
    dims: Sequence[int],
    *,
    temperature: float = TAU,
    inner: int = Chunks.inner,
    precision: Precision = "float32",
) -> tuple[Float[Array, "q _"], ...]:
    """Return the values of each query's nearest key; see ``aggregate``."""
    count, inner = len(queries), min(inner, len(queries))
    queries = jnp.pad(queries, ((0, -count % inner), (0, 0)))
    rows, dtype = len(queries), queries.dtype
    empty = tuple(jnp.zeros((rows, dim), dtype) for dim in dims)
    best = Best(jnp.full(rows, -jnp.inf, dtype), empty)
    for block in blocks:
        best = _add_keys(best, queries, block, inner=inner, precision=precision)
    return tuple(values[:count] for values in best.values)
