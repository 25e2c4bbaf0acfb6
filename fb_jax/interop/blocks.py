"""Blocks: what a fused space's rows are mixed from, stored so that the factors stand in the query.

    direct sum     stored [u ; e_1 ; ... ; e_n], unit rows of every space
                   query  [w_0 u ; w_1 e_1 ; ...], w_i = norm in the query * norm in the item
    weighted sum   stored [u ; e], unit parts, and the number parts_cosine = c = <u, e>
                   query  [(1 - s) q ; s q], q fused at the query's factor, s the item's factor
                   score  inner product / sqrt(a + b c), a = (1 - s)^2 + s^2, b = 2 s (1 - s)

The score is the cosine of two rows fused at any factors. A factor belongs to a modality, so a query
finds items of one modality at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Integer

from fb_jax.banks import BankSet
from fb_jax.banks.directions import LEAST_NORM
from fb_jax.errors import FreeBindError, unknown
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
    """Return the blocks of a fused space; the factors of its last stage play no part.

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
        "fused": digest(space.at(dict.fromkeys(space.weighted, 0.5))),  # whatever its factors are
        "banks": sources_of(splits, galleries),
    }
    direct = isinstance(space.last, DirectSum)
    return Contents(galleries, space.dim * (1 if direct else 2), made_from, cosines=not direct)


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
            stored.append(_stored(space, space.parts(modality, native)))
            found.append(kept[first:last])
    order = np.argsort(np.concatenate(found))
    vectors = np.concatenate([one.vectors for one in stored])[order]
    if isinstance(space.last, DirectSum):
        return Vectors(vectors)
    return Vectors(vectors, np.concatenate([one.cosines for one in stored])[order])


def _stored(space: FusedSpace, parts: Parts) -> Vectors:
    if isinstance(space.last, DirectSum):
        return Vectors(np.hstack(space.last.blocks(parts)))
    unified = parts.unified  # without an expert part, every factor gives the unified one
    expert = unified if parts.expert is None else parts.expert
    cosines = np.clip(np.einsum("nd,nd->n", unified, expert), -1, 1)
    return Vectors(np.hstack([unified, expert]), cosines)


class BlockQuery:
    """Queries to an export of blocks, at factors that need not be known when it is written.

    Args:
        space: The fused space whose blocks were exported.
        factors: Modality to the weight of the expert, 0 to 1; other modalities keep the space's.

    Raises:
        FreeBindError: The space has no blocks, or a factor does not fit it.
    """

    def __init__(self, space: FusedSpace, factors: Factors | None = None) -> None:
        require_blocks(space)
        self.space = space.with_factors(**(factors or {}))

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
            return np.hstack([w * x for w, x in zip(weights, stage.blocks(parts), strict=True)])
        fused = self.space.fuse(modality, rows)
        return np.hstack([np.float32(share) * fused for share in self._shares(find)])

    def norm_terms(self, find: str) -> tuple[float, float]:
        """Return a and b: the score is inner product / sqrt(a + b * parts_cosine).

        For a direct sum, whose items have no ``parts_cosine``, they are 1 and 0.
        """
        self._require(find)
        if isinstance(self.space.last, DirectSum):
            return 1.0, 0.0
        unified, expert = self._shares(find)
        return unified**2 + expert**2, 2 * unified * expert

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
        constant, slope = self.norm_terms(find)
        squares = np.maximum(constant + slope * np.asarray(cosines), LEAST_NORM**2)
        scores = np.asarray(products / np.sqrt(squares), np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), order

    def _shares(self, modality: str) -> tuple[float, float]:
        return self.space.last.shares(modality, self.space.factors.get(modality, 0.0))

    def _require(self, modality: str) -> None:
        if modality not in self.space.modalities:
            raise unknown("modality", modality, self.space.modalities, self.space.title)
