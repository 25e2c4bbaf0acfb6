"""Soft retrieval ``A(q; K -> V) = softmax(q K^T / tau) V`` (section 3.2.1), in chunks.

Keys and values stream past a block of queries. For each query only a running maximum, the softmax
mass and the weighted sums of the values are held, so memory is bounded by the chunk sizes and does
not grow with the bank. Chunking changes only the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fb_jax.errors import require_range
from fb_jax.numerics import Precision, matmul
from fb_jax.registry import RETRIEVALS

TAU = 0.01
"""Temperature of the soft retrieval [P]."""

MAX_CHUNK = 1 << 24


@dataclass(frozen=True)
class Chunks:
    """Sizes that bound the memory of an aggregation, in rows.

    Attributes:
        queries: Queries in a block, 1 to 16777216; larger blocks mean fewer passes over the keys.
        keys: Keys read at a time, 1 to 16777216.
        inner: Queries whose scores are held at a time, 1 to 16777216: inner x keys numbers.
    """

    queries: int = 65536
    keys: int = 2048
    inner: int = 512

    def __post_init__(self) -> None:
        require_range("chunk size", 1, MAX_CHUNK, **vars(self))


class KeyBlock(NamedTuple):
    """Some keys and their values.

    Attributes:
        keys: ``[k, d]`` unit rows; those from ``size`` on are padding.
        values: ``[k, d_v]`` for each value bank.
        size: Number of rows that are not padding.
    """

    keys: Float[Array, "k d"]
    values: tuple[Float[Array, "k _"], ...]
    size: Int[Array, ""]


class Sums(NamedTuple):
    """The running state of ``q`` queries.

    Attributes:
        peak: ``[q]``, the largest score so far.
        mass: ``[q]``, the sum of exp(score - peak).
        values: ``[q, d_v]`` for each value bank: the sum of exp(score - peak) times the value.
    """

    peak: Float[Array, " q"]
    mass: Float[Array, " q"]
    values: tuple[Float[Array, "q _"], ...]


def empty_sums(queries: Float[Array, "q d"], dims: Sequence[int]) -> Sums:
    """Return the state before the first key."""
    count, dtype = len(queries), queries.dtype
    return Sums(
        jnp.full(count, -jnp.inf, dtype),
        jnp.zeros(count, dtype),
        tuple(jnp.zeros((count, dim), dtype) for dim in dims),
    )


def _add_keys(
    sums: Sums,
    queries: Float[Array, "q d"],
    block: KeyBlock,
    temperature: float,
    precision: Precision,
) -> Sums:
    """Return the state after one more block of keys; the softmax's maximum is kept online."""
    dot = partial(matmul, precision=precision)
    scores = dot(queries, block.keys.T) / temperature
    scores = jnp.where(jnp.arange(len(block.keys)) < block.size, scores, -jnp.inf)
    peak = jnp.maximum(sums.peak, scores.max(axis=1))
    shrink = jnp.exp(sums.peak - peak)
    weights = jnp.exp(scores - peak[:, None])
    return Sums(
        peak,
        shrink * sums.mass + weights.sum(axis=1),
        tuple(
            shrink[:, None] * total + dot(weights, values)
            for total, values in zip(sums.values, block.values, strict=True)
        ),
    )


@partial(jax.jit, static_argnames=("temperature", "inner", "precision"), donate_argnums=0)
def add_keys(
    sums: Sums,
    queries: Float[Array, "q d"],
    block: KeyBlock,
    *,
    temperature: float,
    inner: int,
    precision: Precision,
) -> Sums:
    """Add one block of keys to the state, ``inner`` queries at a time.

    Args:
        sums: The state so far; its memory is reused.
        queries: ``[q, d]`` unit rows; q is a multiple of ``inner``, or at most ``inner``.
        block: The keys and their values.
        temperature: tau.
        inner: Queries at a time.
        precision: Precision of the two products.

    Returns:
        The state after these keys.
    """
    inner = min(inner, len(queries))
    split = partial(jax.tree.map, lambda x: x.reshape(-1, inner, *x.shape[1:]))
    join = partial(jax.tree.map, lambda x: x.reshape(-1, *x.shape[2:]))
    step = lambda part: _add_keys(part[0], part[1], block, temperature, precision)  # noqa: E731
    return join(jax.lax.map(step, (split(sums), split(queries))))


@jax.jit
def finish(sums: Sums) -> tuple[Float[Array, "q _"], ...]:
    """Divide by the softmax mass: ``[q, d_v]`` for each value bank."""
    return tuple(total / sums.mass[:, None] for total in sums.values)


@RETRIEVALS.register("softmax")
def aggregate(
    queries: Float[Array, "q d"],
    blocks: Iterable[KeyBlock],
    dims: Sequence[int],
    *,
    temperature: float = TAU,
    inner: int = Chunks.inner,
    precision: Precision = "float32",
) -> tuple[Float[Array, "q _"], ...]:
    """Compute ``softmax(q K^T / tau) V`` for every value bank of one key bank [P].

    Args:
        queries: ``[q, d]`` unit rows.
        blocks: The keys with their values, in order.
        dims: Dimension d_v of each value bank.
        temperature: tau.
        inner: See ``Chunks``.
        precision: See ``Precision``.

    Returns:
        ``[q, d_v]`` for each value bank, in the dtype of the queries: convex combinations of the
        values, not unit rows.
    """
    count = len(queries)
    if count > inner:
        queries = jnp.pad(queries, ((0, -count % inner), (0, 0)))
    sums = empty_sums(queries, dims)
    for block in blocks:
        sums = add_keys(
            sums, queries, block, temperature=temperature, inner=inner, precision=precision
        )
    return tuple(out[:count] for out in finish(sums))
