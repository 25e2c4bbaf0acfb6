"""How sharp soft retrieval is: over how many keys of the whole pool its weights spread."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fb_jax.evaluation.diagnosis.sample import Sampling, drawn
from fb_jax.numerics import matmul
from fb_jax.pseudo import BankStream, KeyBlock, PairSpec, complete
from fb_jax.pseudo.plans import Hop, Ref, native, shared_scores


class Spread(NamedTuple):
    """The weights of one soft retrieval, as medians over the queries.

    Attributes:
        effective: Effective number of keys.
        beyond: Share of the weight that lies beyond the k keys with the largest weights.
        keys: Number of keys.
    """

    effective: float
    beyond: float
    keys: int

    @property
    def share(self) -> float:
        """The effective number as a share of the keys."""
        return self.effective / self.keys

    def __str__(self) -> str:
        return f"{self.effective:,.{0 if self.effective > 100 else 1}f} of {self.keys:,} keys"


class _Sums(NamedTuple):
    """The running state of ``q`` queries: see ``_add``."""

    peak: Float[Array, " q"]
    mass: Float[Array, " q"]
    squares: Float[Array, " q"]
    top: Float[Array, "q k"]


@partial(jax.jit, static_argnames="temperature")
def _add(sums: _Sums, queries: Float[Array, "q d"], block: KeyBlock, temperature: float) -> _Sums:
    """Return the state after one more block of keys.

    It holds the largest score, the sums of exp(score - peak) and of its square, and the k largest
    scores, so that memory does not grow with the keys.
    """
    scores = matmul(queries, block.keys.T) / temperature
    scores = jnp.where(jnp.arange(len(block.keys)) < block.size, scores, -jnp.inf)
    peak = jnp.maximum(sums.peak, scores.max(axis=1))
    shrink = jnp.exp(sums.peak - peak)
    weights = jnp.exp(scores - peak[:, None])
    both = jnp.concatenate([sums.top, scores], axis=1)
    return _Sums(
        peak,
        shrink * sums.mass + weights.sum(axis=1),
        shrink**2 * sums.squares + (weights**2).sum(axis=1),
        jax.lax.top_k(both, sums.top.shape[1])[0],
    )


def spread_of(
    queries: Float[Array, "q d"], stream: BankStream, keys: Ref, temperature: float, k: int
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Return how the softmax weights w of each query spread over all keys of a bank.

    Args:
        queries: ``[q, d]`` unit rows.
        stream: Streams the keys.
        keys: Their bank.
        temperature: tau of the softmax.
        k: Number of keys that are not "beyond".

    Returns:
        ``[q]`` effective numbers of keys, 1 / sum w^2 (Kish's effective sample size, Survey
        Sampling 1965; 1 if one key has all weight, n if n keys share it), and ``[q]`` shares of
        weight beyond the k largest, 1 - sum of these.
    """
    count, dtype = len(queries), queries.dtype
    zeros = jnp.zeros(count, dtype)
    low = jnp.full((count, k), -jnp.inf, dtype)
    sums = _Sums(low[:, 0], zeros, zeros, low)
    for block in stream.blocks(keys.column, []):
        sums = _add(sums, queries, block, temperature)
    within = jnp.exp(sums.top - sums.peak[:, None]).sum(axis=1) / sums.mass
    return np.asarray(sums.mass**2 / sums.squares), np.asarray(jnp.maximum(1 - within, 0))


def sharpness(spec: PairSpec, sampling: Sampling) -> dict[str, dict[str, Spread]]:
    """Measure every soft retrieval of the plan (Eq. 4-6, 11-13), over the whole pool.

    Args:
        spec: The spaces, and the settings of the soft retrieval.
        sampling: How many queries, and k.

    Returns:
        Start to ``query; keys`` to its spread. Hops with the same query and keys share it.
    """
    hops = [hop for hops in spec.plan.values() for hop in hops]
    columns = {ref.column for hop in hops for ref in (hop.keys, hop.values)}
    banks = {column: spec.bank(column) for column in columns}
    stream = BankStream(banks, block_rows=spec.retrieval.chunks.keys)
    return {start: _of_start(spec, start, stream, sampling) for start in spec.starts}


def _of_start(
    spec: PairSpec, start: str, stream: BankStream, sampling: Sampling
) -> dict[str, Spread]:
    """Return the spread of every soft retrieval from one start."""
    hops, temperature = spec.plan[start], spec.retrieval.temperature
    rows = drawn(spec.count(start), sampling.queries, sampling.seed)
    known = {r: jnp.asarray(spec.bank(r.column)[rows]) for r in native(spec.plan, start)}
    known |= complete(_first(hops), known, stream, spec.retrieval)
    found = {}
    for query, keys in shared_scores(hops):
        effective, beyond = spread_of(known[query], stream, keys, temperature, sampling.neighbours)
        spread = Spread(
            float(np.median(effective)), float(np.median(beyond)), len(spec.bank(keys.column))
        )
        found[f"{query}; {keys}"] = spread
    return found


def _first(hops: tuple[Hop, ...]) -> list[Hop]:
    """Return the hops whose output is the query of another."""
    queries = {hop.query for hop in hops}
    return [hop for hop in hops if hop.output in queries]
