"""Fitting a hub correction: references from the pool, k and alpha on validation pairs [O]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Integer

from fb_jax.banks import BankSet
from fb_jax.errors import notice_once
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.models import Tables, pair_tables
from fb_jax.evaluation.ranks import SCORE_BYTES
from fb_jax.evaluation.spaces import Corrected, PlainRow, models_of
from fb_jax.fusion import FusedSpace, Hub, HubCorrection
from fb_jax.fusion.card import HUBS
from fb_jax.fusion.hubs import FEW, TOO_FEW, highest_scores
from fb_jax.numerics import matmul

Rows = Mapping[str, Float32[np.ndarray, "_ d"]]
"""Modality to plain rows of one model; modalities may differ in their number."""

REFERENCES = 1 << 14
"""Maximum number of references of a modality: evenly spaced items of the pool."""

GRID = tuple(Hub(k, alpha) for k in (4, 8, 16, 32, 64, 128) for alpha in (0.25, 0.5, 0.75, 1.0))
"""What is tried on validation pairs, beside no correction."""


def fit_hubs(rows: Mapping[str, PlainRow], pool: BankSet, val: BankSet) -> dict[str, HubCorrection]:
    """Fit the hub correction of spaces and of means of scores.

    Args:
        rows: Name to what is corrected.
        pool: All native spaces over unpaired items; at most ``REFERENCES`` of each modality are
            read.
        val: The same spaces over validation pairs. For each pair of modalities, the k and alpha
            with the best R@1 (mean of both directions) are kept, if that is better than without.
            Modalities with fewer than ``TOO_FEW`` references have no correction.

    Returns:
        Name to correction; those that no correction makes better are left out.
    """
    pool = pool.thinned(REFERENCES)
    enough, references = _enough(pool), models_of(rows, pool)
    found: dict[str, HubCorrection] = {}
    for name, model in models_of(rows, val).items():
        tables = pair_tables(tuple(model), val)
        tables = {pair: table for pair, table in tables.items() if enough.issuperset(pair)}
        fitted = fit(references.pop(name), model, tables)
        found |= {name: fitted} if fitted else {}
    return found


def fit(references: Rows, val: Rows, tables: Tables) -> HubCorrection | None:
    """Fit the correction of one model; see ``fit_hubs``.

    Args:
        references: Modality to rows of the pool.
        val: Modality to rows of validation items.
        tables: Pair of modalities to the rows of ``val`` that belong together.

    Returns:
        The correction; None if none is better than none.
    """
    chosen: dict[tuple[str, str], Hub] = {}
    for pair, table in tables.items():
        if CLASS in pair or not set(pair) <= set(references):
            continue
        (left, right), refs = (val[m] for m in pair), [references[m] for m in pair]
        ways = recalls(left, right, table, refs[0]), recalls(right, left, table[:, ::-1], refs[1])
        reached = ways[0] + ways[1]
        if reached[1:].max() > reached[0]:
            chosen[pair] = GRID[int(reached[1:].argmax())]
    asking = sorted({m for pair in chosen for m in pair})
    return HubCorrection(chosen, {m: references[m] for m in asking}) if chosen else None


def recalls(
    queries: Float32[np.ndarray, "q d"],
    items: Float32[np.ndarray, "n d"],
    table: Integer[np.ndarray, "p 2"],
    references: Float32[np.ndarray, "r d"],
) -> Float[np.ndarray, " g"]:
    """Return R@1 in percent without correction, then at every setting of ``GRID``.

    Args:
        queries: Plain rows that ask.
        items: Plain rows that are found; of equal scores the lower row ranks first.
        table: (query, item) rows that belong together.
        references: Plain rows of the modality of the queries.
    """
    highest = highest_scores(items, references, max(hub.k for hub in GRID))
    biases = [hub.alpha * highest[:, : hub.k].mean(axis=1) for hub in GRID]
    settings = jnp.asarray(np.stack([0 * biases[0], *biases]))
    asked, fits = np.unique(table[:, 0]), np.sort(table @ [len(items), 1])
    block, on_device = max(1, SCORE_BYTES // (12 * len(items))), jnp.asarray(items)
    hits = np.zeros(len(settings))
    for start in range(0, len(asked), block):
        rows = asked[start : start + block]
        first = np.asarray(_first(jnp.asarray(queries[rows]), on_device, settings))
        hits += np.isin(rows * len(items) + first, fits).sum(axis=1)
    return 100 * hits / max(1, len(asked))


@jax.jit
def _first(
    queries: Float[Array, "q d"], items: Float[Array, "n d"], biases: Float[Array, "g n"]
) -> Int[Array, "g q"]:
    """Return the item that ranks first for each query, at every setting."""
    scores = matmul(queries, items.T)
    return jax.lax.map(lambda bias: (scores - bias).argmax(axis=1), biases)


def _enough(pool: BankSet) -> set[str]:
    """Return the modalities with enough references in a pool, and say which have few."""
    counts = {m: len(rows) for m, rows in pool.rows.items()}
    if few := {m: count for m, count in counts.items() if count < FEW}:
        counted = ", ".join(f"{count} {m}" for m, count in few.items())
        none = ", ".join(m for m, count in few.items() if count < TOO_FEW)
        what = f"no hub correction of {none}" if none else "hub correction may not help"
        notice_once(f"{what}: {counted} references in {pool.split.path}, {FEW} or more are advised")
    return {m for m, count in counts.items() if count >= TOO_FEW}


def corrected(
    rows: Mapping[str, PlainRow], hubs: Mapping[str, HubCorrection]
) -> dict[str, FusedSpace | Corrected]:
    """Return those rows of a table that have a hub correction, with it, under names that say so."""
    return {f"{name}{HUBS}": _with(rows[name], own) for name, own in hubs.items()}


def _with(row: PlainRow, hubs: HubCorrection) -> FusedSpace | Corrected:
    return replace(row, hubs=hubs) if isinstance(row, FusedSpace) else Corrected(row, hubs)
