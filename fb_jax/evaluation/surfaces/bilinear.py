"""R@1 at every pair of factors from one set of scores: scores are bilinear in the factors.

A row at a factor is the weighted sum of its components, divided by its norm. So the score of a
query and an item is a weighted sum of the scores of their components. Those are computed once, and
a grid of hundreds of factors is elementwise work. The norm of a query changes no rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Integer

from fb_jax.banks.directions import LEAST_NORM
from fb_jax.evaluation.ranks import SCORE_BYTES

TIE, NEVER = 1e-7, -1e9
"""Added to the scores of items: before a query's first positive and taken away after it, so that
among equal scores the lower row ranks first, as in ``best_ranks``; and for positives, which are no
rivals."""


@dataclass(frozen=True)
class Mixture:
    """Rows of a modality at every factor of a grid.

    Attributes:
        components: ``[c, n, d]``: one component, or two.
        shares: ``[g, c]`` weights of the components at each factor, not negative.
        norms: ``[g, n]`` norms of the weighted sums; ones if they are not normalised.
    """

    components: Float[np.ndarray, "c n d"]
    shares: Float[np.ndarray, "g c"]
    norms: Float[np.ndarray, "g n"]

    @classmethod
    def fixed(cls, rows: Float[np.ndarray, "n d"]) -> Mixture:
        """Return rows ``[n, d]`` without a factor: a grid of one."""
        return cls(rows[None], np.ones((1, 1), np.float32), np.ones((1, len(rows)), np.float32))

    def rows_at(self, factor: int) -> Float[np.ndarray, "n d"]:
        """Return the rows at a factor of the grid."""
        return mixed(self.shares[factor], self.components) / self.norms[factor][:, None]


def mixed(weights: Iterable[Any], parts: Iterable[Any]) -> Any:
    """Return the weighted sum of some arrays, of NumPy or JAX."""
    return sum(w * part for w, part in zip(weights, parts, strict=True))


def norms_of(
    components: Float[np.ndarray, "c n d"], shares: Float[np.ndarray, "g c"]
) -> Float[np.ndarray, "g n"]:
    """Return the norms of weighted sums of components; the least is ``LEAST_NORM``."""
    squares = np.einsum("ind,jnd->ijn", components, components)
    summed = np.einsum("gi,gj,ijn->gn", shares, shares, squares)
    return np.sqrt(np.maximum(summed, LEAST_NORM**2))


@jax.jit
def _hits(
    queries: Float[Array, "c q d"],
    shares: Float[Array, "g c"],
    items: tuple[Float[Array, "k n d"], Float[Array, "h k"], Float[Array, "h n"]],
    own: Int[Array, " p"],
    positive: Int[Array, " p"],
    handicap: Float[Array, "q n"],
) -> Int[Array, "h g"]:
    """Return for how many queries a positive ranks first, at every pair of factors."""
    components, item_shares, item_norms = items
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    scores = [[product(item, query.T) for item in components] for query in queries]  # [c][k] [n, q]
    mix = lambda parts: mixed(shares.T[:, :, None], parts)  # noqa: E731

    def at_item_factor(part: tuple[Array, Array]) -> Array:
        share, norm = part
        at_factor = [mixed(share, parts) / norm[:, None] for parts in scores]  # [c] [n, q]
        reached = mix([score[positive, own] for score in at_factor])
        best = jax.ops.segment_max(reached.T, own, num_segments=queries.shape[1]).T
        # Item by item, so that the best rivals at all factors stay in the processor's cache.
        ahead = lambda top, item: (jnp.maximum(top, mix(item)), None)  # noqa: E731
        rivals = [score + handicap.T for score in at_factor]
        rival, _ = jax.lax.scan(ahead, jnp.full(best.shape, -jnp.inf), rivals)
        return (best > rival).sum(axis=1)

    return jax.lax.map(at_item_factor, (item_shares, item_norms))


def recall(
    queries: Mixture, items: Mixture, pairs: Integer[np.ndarray, "p 2"]
) -> Float64[np.ndarray, "g h"]:
    """Return R@1 in percent, one way, at every pair of factors.

    Args:
        queries: Rows of the queries at g factors.
        items: Rows of the items at h factors.
        pairs: ``[p, 2]`` (query, item) rows that belong together, many-to-many.

    Returns:
        ``[g, h]``, the factor of the queries down the rows.
    """
    asked, query_of = np.unique(pairs[:, 0], return_inverse=True)
    count = items.components.shape[1]
    chunk = max(1, SCORE_BYTES // (4 * 8 * count))  # 4 scores, and as much again in between
    most = int(np.bincount(query_of // chunk).max())  # one length: each would be compiled anew
    shares = jnp.asarray(queries.shares)
    on_device = tuple(map(jnp.asarray, (items.components, items.shares, items.norms)))
    hits = np.zeros((len(items.shares), len(queries.shares)), int)
    for start in range(0, len(asked), chunk):
        rows = asked[start : start + chunk]
        here = (query_of >= start) & (query_of < start + chunk)
        own, positive = query_of[here] - start, pairs[here, 1]
        handicap = _handicap(own, positive, (len(rows), count))
        block = jnp.asarray(queries.components[:, rows])
        # The last pair again and again changes nothing.
        own, positive = (np.pad(side, (0, most - len(side)), "edge") for side in (own, positive))
        hits += np.asarray(_hits(block, shares, on_device, own, positive, handicap))
    return 100 * hits.T / len(asked)


def _handicap(
    own: Int[np.ndarray, " p"], positive: Int[np.ndarray, " p"], shape: tuple[int, int]
) -> Float[np.ndarray, "q n"]:
    first = np.full(shape[0], shape[1])
    np.minimum.at(first, own, positive)
    handicap = np.where(np.arange(shape[1]) < first[:, None], TIE, -TIE).astype(np.float32)
    handicap[own, positive] = NEVER
    return handicap


def recall_surface(
    left: Mixture, right: Mixture, pairs: Integer[np.ndarray, "p 2"]
) -> Float64[np.ndarray, "g h"]:
    """Return R@1 in percent, mean of both directions, at every pair of factors.

    Args:
        left: Rows of the first modality at g factors.
        right: Rows of the second at h factors.
        pairs: ``[p, 2]`` (left, right) rows that belong together, many-to-many.

    Returns:
        ``[g, h]``, the factor of the first modality down the rows.
    """
    return (recall(left, right, pairs) + recall(right, left, pairs[:, ::-1]).T) / 2
