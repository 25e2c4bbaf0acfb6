"""Blocks: what a fused space's rows are mixed from, stored so that the factors stand in the query.

    direct sum     stored [u ; e_1 ; ... ; e_n], unit rows of every space
                   query  [w_0 u ; w_1 e_1 ; ...], w_i = norm in the query * norm in the item
    weighted sum   stored [u ; e], unit parts, and the number parts_cosine = c = <u, e>
                   query  [(1 - s) q ; s q], q fused at the query's factor, s the item's factor
                   score  inner product / sqrt(a + b c), a = (1 - s)^2 + s^2, b = 2 s (1 - s)

The score is the cosine of two rows fused at any factors. A factor belongs to a modality, so a query
finds items of one modality at a time.

With hub correction (``fb_jax.fusion.hubs``) items have a column -n b_i more for each asking
modality i, and queries 1 in their own: the score is less by b_i. b_i is that at the space's own
factors, n the norm at them: 1 in a direct sum, sqrt(a + b c) in a weighted one, whose scores at
other factors are less by b_i times the ratio of the norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Integer

from fb_jax.banks import BankSet
from fb_jax.banks.directions import LEAST_NORM
from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.fusion import (
    CutSum,
    DirectSum,
    Factors,
    FusedSpace,
    Parts,
    by_spaces,
    digest,
    fusable,
    sources,
)
from fb_jax.fusion.checks import require_unrouted
from fb_jax.interop.contents import Contents, Gallery, Vectors, chosen, gallery, sources_of


def block_contents(
    space: FusedSpace, splits: Sequence[BankSet], modalities: Sequence[str] = ()
) -> Contents:
    """Return the blocks of a fused space; the factors of its last stage only correct hubs.

    Args:
        space: The fused space.
        splits: Banks of all its native spaces over each split.
        modalities: Modalities to export; none names all that can be fused.

    Raises:
        FreeBindError: The space has no blocks, or a split lacks a modality.
    """
    require_blocks(space)

    galleries = [
        _gallery(space, banks, modality)
        for banks in splits
        for modality in chosen(modalities, fusable(space, banks), banks)
    ]
    made_from = {
        "form": "blocks",
        "space": space.title,
        # the same whatever the factors are
        "fused": digest(space.plain.at(dict.fromkeys(space.weighted, 0.5))),
        "banks": sources_of(splits, galleries),
    }
    direct = isinstance(space.last, DirectSum)
    dim = space.dim * (1 if direct else 2)
    if space.hubs is not None:
        made_from["hubs"] = digest(space)  # the correction is that of its own factors
        dim += len(space.hubs.columns)
    return Contents(galleries, dim, made_from, cosines=not direct)


def require_blocks(space: FusedSpace) -> None:
    """Raise a FreeBindError unless the score of a space's rows comes from blocks."""
    rows = "export its rows: freebind fuse, then --form rows"
    require_unrouted(space, "an export of blocks")
    if isinstance(space.last, CutSum):
        raise FreeBindError("the blocks of a cut direct sum are mixed", where=space.title, fix=rows)
    if not all(stage.normalise for stage in space.stages):
        raise FreeBindError(
            "blocks are of unit length, and a stage of this space is not normalised",
            where=space.title,
            fix=rows,
        )


def _gallery(space: FusedSpace, banks: BankSet, modality: str) -> Gallery:
    """Return the items of a modality; a weighted sum also has those that an expert lacks."""
    direct = isinstance(space.last, DirectSum)
    groups = [banks] if direct else by_spaces(space, banks, modality)
    rows = np.sort(np.concatenate([group.rows[modality] for group in groups]))
    return gallery(banks, modality, rows, partial(_read, space, groups, modality, rows))


def _read(
    space: FusedSpace,
    groups: Sequence[BankSet],
    modality: str,
    rows: Integer[np.ndarray, " n"],
    part: slice,
) -> Vectors:
    """Return the blocks of some rows, each from the group of items that it belongs to."""
    found, stored = [], []
    for group in groups:
        kept = group.rows[modality]
        first, last = np.searchsorted(kept, [rows[part][0], rows[part][-1] + 1]).tolist()
        if first < last:
            native = sources(space, group, modality, slice(first, last))
            stored.append(_stored(space, modality, space.parts(modality, native)))
            found.append(kept[first:last])
    order = np.argsort(np.concatenate(found))
    vectors = np.concatenate([one.vectors for one in stored])[order]
    if isinstance(space.last, DirectSum):
        return Vectors(vectors)
    return Vectors(vectors, np.concatenate([one.cosines for one in stored])[order])


def _stored(space: FusedSpace, modality: str, parts: Parts) -> Vectors:
    cosines = None
    if isinstance(space.last, DirectSum):
        blocks = [*space.last.blocks(parts)]
    else:
        unified = parts.unified  # without an expert part, every factor gives the unified one
        expert = unified if parts.expert is None else parts.expert
        cosines = np.clip(np.einsum("nd,nd->n", unified, expert), -1, 1)
        blocks = [unified, expert]
    if space.hubs is not None:
        norms = 1 if cosines is None else _norms(space, modality, cosines)[:, None]
        blocks.append(-norms * space.hubs.biases(modality, space.mix(modality, parts)))
    return Vectors(np.hstack(blocks), cosines)


def _norm_terms(space: FusedSpace, modality: str) -> tuple[float, float]:
    """Return a and b: the score is the inner product / sqrt(a + b c)."""
    if isinstance(space.last, DirectSum):
        return 1.0, 0.0
    unified, expert = space.last.shares(modality, space.factors.get(modality, 0.0))
    return unified**2 + expert**2, 2 * unified * expert


def _norms(space: FusedSpace, modality: str, cosines: np.ndarray) -> np.ndarray:
    """Return what inner products are divided by, for the cosines of the items' parts."""
    constant, slope = _norm_terms(space, modality)
    return np.sqrt(np.maximum(constant + slope * np.asarray(cosines), LEAST_NORM**2))


class BlockQuery:
    """Queries to an export of blocks, at factors that need not be known when it is written.

    Args:
        space: The fused space whose blocks were exported; with hub correction at its own factors.
        factors: Modality to the weight of the expert, 0 to 1; other modalities keep the space's.

    Raises:
        FreeBindError: The space has no blocks, or a factor does not fit it.
    """

    def __init__(self, space: FusedSpace, factors: Factors | None = None) -> None:
        require_blocks(space)
        self.space, self.hubs = space.with_factors(**(factors or {})), space.hubs
        if self.hubs is not None and self.space.hubs is None:
            notice_once(f"{space.title}: the hub correction of blocks is that of its own factors")

    def vectors(
        self, modality: str, rows: Mapping[str, Any], find: str
    ) -> Float32[np.ndarray, "q d"]:
        """Return the vectors to send for some queries; inner product is what ranks.

        Args:
            modality: Modality of the queries.
            rows: Native space to ``[q, d]`` embeddings, as ``FusedSpace.fuse`` takes them.
            find: Modality of the items to find.

        Raises:
            FreeBindError: A modality is unknown, or the rows do not fit.
        """
        self._require(find)
        stage = self.space.last
        if isinstance(stage, DirectSum):
            parts = self.space.parts(modality, rows)
            norms = stage.block_norms(modality, parts.lacking), stage.block_norms(find)
            weights = np.sqrt(np.prod(norms, axis=0)).astype(np.float32)
            blocks = [w * x for w, x in zip(weights, stage.blocks(parts), strict=True)]
        else:
            fused = self.space.fuse(modality, rows)
            shares = stage.shares(find, self.space.factors.get(find, 0.0))
            blocks = [np.float32(share) * fused for share in shares]
        if self.hubs is not None:
            blocks.append(np.tile(self.hubs.asks(modality), (len(blocks[0]), 1)))
        return np.hstack(blocks)

    def norm_terms(self, find: str) -> tuple[float, float]:
        """Return a and b: the score is inner product / sqrt(a + b * parts_cosine).

        For a direct sum, whose items have no ``parts_cosine``, they are 1 and 0.
        """
        self._require(find)
        return _norm_terms(self.space, find)

    def rescore(
        self,
        products: Float[np.ndarray, "q k"],
        cosines: Float[np.ndarray, "q k"],
        find: str,
    ) -> tuple[Float32[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
        """Return the scores of candidates, best first, and their positions among the candidates.

        Args:
            products: Inner products of queries and candidates.
            cosines: ``parts_cosine`` of the candidates.
            find: Modality of the candidates.
        """
        scores = np.asarray(products / _norms(self.space, find, cosines), np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), order

    def _require(self, modality: str) -> None:
        if modality not in self.space.modalities:
            raise unknown("modality", modality, self.space.modalities, self.space.title)
