"""Blocks: what a fused space's rows are mixed from, stored so that the factors stand in the query.

A row is unit(s_0 x_0 + s_1 x_1), with the components x and the shares s of its stage, and only the
shares depend on the factors (``Stage.components``). So

    stored   [x_0 ; x_1] / g,  g^2 = (|x_0|^2 + |x_1|^2) / 2, and two numbers,              (K1)
             parts_product = <x_0, x_1> / g^2,  parts_balance = (|x_1|^2 - |x_0|^2) / (2 g^2)
    query    [s_0 q ; s_1 q],  q fused at the query's factor, s at the item's               (K2)
    score    inner product / sqrt(a + b parts_product + c parts_balance),                   (K3)
             a = s_0^2 + s_1^2,  b = 2 s_0 s_1,  c = s_1^2 - s_0^2

The score is the cosine of two rows fused at any factors. A factor belongs to a modality, so a query
finds items of one modality at a time. A router's weights of an item are in its components, those of
a query in q.

A direct sum that is not cut is stored as [u ; e_1 ; ... ; e_n], unit rows of every space; the query
is [w_0 q_0 ; w_1 q_1 ; ...] with w_i^2 the squared norm of block i in the item. That is K1 and K2
without zeros, and without routers the inner product is the score, so that there are no numbers.

With hub correction (``fb_jax.fusion.hubs``) items have a column -n b_i more for each asking
modality i, and queries 1 in their own: the score is less by b_i. b_i is that at the space's own
factors, n the root of K3 at them: scores at other factors are less by b_i times the ratio of the
roots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Integer

from fb_jax.banks import BankSet, unit_rows
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
from fb_jax.interop.contents import Contents, Gallery, Vectors, chosen, gallery, sources_of

LEAST_SQUARE = LEAST_NORM**3
"""Least radicand of Eq. K3. A routed row may be much shorter than g and still have a direction."""


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
    dim = space.dim * (2 if _direct(space) is None else 1)
    if space.hubs is not None:
        made_from["hubs"] = digest(space)  # the correction is that of its own factors
        dim += len(space.hubs.columns)
    return Contents(galleries, dim, made_from, numbers=_numbered(space))


def require_blocks(space: FusedSpace) -> None:
    """Raise a FreeBindError unless the score of a space's rows comes from blocks."""
    if not all(stage.normalise for stage in space.stages):
        raise FreeBindError(
            "scores of blocks are cosines, and a stage of this space is not normalised",
            where=space.title,
            fix="export its rows: freebind fuse, then --form rows",
        )


def _direct(space: FusedSpace) -> DirectSum | None:
    """Return the last stage if it is a direct sum that is not cut."""
    stage = space.last
    return stage if isinstance(stage, DirectSum) and not isinstance(stage, CutSum) else None


def _numbered(space: FusedSpace) -> bool:
    """Return whether items have numbers: without, the inner product is the score."""
    return _direct(space) is None or bool(space.last.routers)


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
    numbers = [one.numbers for one in stored if one.numbers is not None]
    return Vectors(vectors, np.concatenate(numbers)[order] if numbers else None)


def _stored(space: FusedSpace, modality: str, parts: Parts) -> Vectors:
    """Return the vectors and the numbers of items (Eq. K1)."""
    components = space.last.components(parts)
    first, second = components[0], components[-1]  # of only one, every factor gives this one
    pairs = ((first, first), (first, second), (second, second))
    dots = [np.einsum("nd,nd->n", x, y, dtype=np.float64) for x, y in pairs]
    square = np.maximum((dots[0] + dots[2]) / 2, LEAST_NORM**2)
    numbers = np.stack([dots[1], (dots[2] - dots[0]) / 2], axis=1) / square[:, None]
    numbers = np.clip(numbers, -1, 1)
    stage = _direct(space)
    blocks = [first, second] if stage is None else stage.blocks(modality, parts)
    blocks = [block / np.sqrt(square)[:, None] for block in blocks]
    if space.hubs is not None:
        norms = _norms(space, modality, numbers)[:, None]
        blocks.append(-norms * space.hubs.biases(modality, space.mix(modality, parts)))
    return Vectors(np.hstack(blocks, dtype=np.float32), numbers if _numbered(space) else None)


def _shares(space: FusedSpace, modality: str) -> tuple[float, float]:
    """Return the shares of both components in the rows of a modality."""
    return space.last.shares(modality, space.factors.get(modality, 0.0))


def _norm_terms(space: FusedSpace, modality: str) -> tuple[float, float, float]:
    """Return a, b and c of Eq. K3."""
    first, second = _shares(space, modality)
    return first**2 + second**2, 2 * first * second, second**2 - first**2


def _norms(space: FusedSpace, modality: str, numbers: Float[np.ndarray, "*n 2"]) -> np.ndarray:
    """Return what inner products with items are divided by (Eq. K3)."""
    constant, *slopes = _norm_terms(space, modality)
    return np.sqrt(np.maximum(constant + numbers @ np.asarray(slopes), LEAST_SQUARE))


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
        fused, stage = unit_rows(self.space.fuse(modality, rows)), _direct(self.space)
        if stage is None:
            blocks = [np.float32(share) * fused for share in _shares(self.space, find)]
        else:
            roots = np.sqrt(np.asarray(stage.block_norms(find), np.float32))
            blocks = [fused * np.repeat(roots, stage.block_dims)]
        if self.hubs is not None:
            blocks.append(np.tile(self.hubs.asks(modality), (len(blocks[0]), 1)))
        return np.hstack(blocks)

    def norm_terms(self, find: str) -> tuple[float, float, float]:
        """Return a, b and c: the score is inner product / sqrt(a + b product + c balance).

        Product and balance are the numbers of an item. Items of a direct sum that has no router and
        is not cut have none: there the inner product is the score.
        """
        self._require(find)
        return _norm_terms(self.space, find)

    def rescore(
        self,
        products: Float[np.ndarray, "q k"],
        numbers: Float[np.ndarray, "q k 2"],
        find: str,
    ) -> tuple[Float32[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
        """Return the scores of candidates, best first, and their positions among the candidates.

        Args:
            products: Inner products of queries and candidates.
            numbers: ``parts_product`` and ``parts_balance`` of the candidates.
            find: Modality of the candidates.
        """
        scores = np.asarray(products / _norms(self.space, find, numbers), np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), order

    def _require(self, modality: str) -> None:
        if modality not in self.space.modalities:
            raise unknown("modality", modality, self.space.modalities, self.space.title)
