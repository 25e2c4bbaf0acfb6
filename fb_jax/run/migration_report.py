"""What a migration costs: recall of new queries by the share of items that are embedded again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from matplotlib.figure import Figure

from fb_jax.banks import Bank, BankSet
from fb_jax.evaluation import RECALLS, Results
from fb_jax.evaluation.memory import LIMIT, block_bytes
from fb_jax.evaluation.metrics import measure
from fb_jax.evaluation.models import Tables
from fb_jax.evaluation.plots import save_png
from fb_jax.evaluation.ranks import positive_ranks
from fb_jax.evaluation.spaces import Row, in_blocks
from fb_jax.fusion import FusedSpace
from fb_jax.run.migration import Ends

SHARES = (0, 10, 25, 50, 75, 100)
"""Percent of the items that are embedded again."""

SEED = 0
"""Of the items that are: at a larger share all those of a smaller one, and more."""

Rows = Mapping[str, np.ndarray]
"""Modality to ``[n, d]`` unit rows."""


def migration_results(
    maps: Mapping[str, FusedSpace],
    banks: BankSet,
    ends: Ends,
    metrics: Sequence[str] = RECALLS,
    memory: int = LIMIT,
) -> Results:
    """Measure migrations on items that have rows of both models.

    Queries are rows of the new model, in every row of the table but the first: there, queries and
    items are the old model's, as before the change. Queries in modalities that the new model lacks
    are left out everywhere, so that such a pair has one direction. Without pairs in the split, a
    new row is to find its own item.

    Args:
        maps: Name to migrated space; see ``migrated_space``.
        banks: Both spaces over a split.
        ends: The spaces.
        metrics: Names of metrics of the table.
        memory: Bytes that measuring may take; figures do not depend on it.

    Returns:
        Model to pair to metric: the old model, every map at every share below 100 %, and the new
        model, which has embedded everything again.

    Raises:
        FreeBindError: The split needs more memory.
    """
    space = next(iter(maps.values()))
    known = [m for m in space.modalities if m in banks.rows]
    block, tables = score_bytes(space, banks, ends, memory), _tables(banks, known)
    recalls = partial(_recalls, tables=tables, metrics=metrics, memory=block)
    having = {name: [m for m in banks.modalities(name) if m in known] for name in ends}
    read = lambda name: {m: banks[name, m][:] for m in having[name]}  # noqa: E731
    old = read(ends.old)
    asking = {m: rows for m, rows in old.items() if m in having[ends.new]}
    figures = {ends.old: recalls(asking, old)}
    del old, asking  # rows of one model at a time
    new = read(ends.new)
    for name, space in maps.items():
        moved = {m: _moved(space, banks[ends.old, m]) for m in having[ends.old]}
        for share in SHARES[:-1]:
            mixed = {**new, **{m: _mixed(rows, new.get(m), share) for m, rows in moved.items()}}
            figures[row_name(name, share)] = recalls(new, mixed)
    figures[ends.new] = recalls(new, new)
    return Results(figures, banks.split.name, tuple(metrics), (ends.old,))


def score_bytes(space: FusedSpace, banks: BankSet, ends: Ends, memory: int) -> int:
    """Return the memory for a block of scores beside the rows of one model; see ``block_bytes``.

    Args:
        space: A migrated space, at any numbers.
        banks: Both spaces over a split.
        ends: The spaces.
        memory: Bytes that measuring may take.
    """
    rows: dict[str, Row] = {space.title: space, ends.old: ends.old, ends.new: ends.new}
    return block_bytes(rows, banks, list(_tables(banks, banks.rows)), memory)


def _moved(space: FusedSpace, bank: Bank) -> np.ndarray:
    """Return the projected rows of a bank, block by block."""
    read = lambda rows: space.fuse(bank.modality, {bank.space: bank[rows]})  # noqa: E731
    return in_blocks(len(bank), read)


def row_name(name: str, share: int) -> str:
    """Return the name of a row of the table."""
    return f"{name}, {share} % again"


def embedded_again(items: int, share: int) -> Bool[np.ndarray, " items"]:
    """Return which items are embedded again: a fixed draw of ``share`` percent of them."""
    order = np.random.default_rng(SEED).permutation(items)
    return order < round(items * share / 100)


def _mixed(moved: np.ndarray, new: np.ndarray | None, share: int) -> np.ndarray:
    """Return new rows where items are embedded again, and projected old ones elsewhere."""
    if new is None:
        return moved
    return np.where(embedded_again(len(moved), share)[:, None], new, moved)


def _recalls(
    queries: Rows, items: Rows, tables: Tables, metrics: Sequence[str], memory: int
) -> dict[str, dict[str, float]]:
    """Return pair to metrics: the mean of the directions that there are, then each of them."""
    found: dict[str, dict[str, float]] = {}
    for pair, table in tables.items():
        ways = {pair: table, pair[::-1]: table[:, ::-1]}
        known = {way: t for way, t in ways.items() if way[0] in queries and way[1] in items}
        ranks = {
            "->".join(way): positive_ranks(queries[way[0]], items[way[1]], t, memory)
            for way, t in known.items()
        }
        if ranks:
            each = {m: {way: measure(m, r).of() for way, r in ranks.items()} for m in metrics}
            single = {f"{m} {way}": x for m, ways in each.items() for way, x in ways.items()}
            means = {m: float(np.mean(list(ways.values()))) for m, ways in each.items()}
            found["-".join(pair)] = means | single
    return found


def _tables(banks: BankSet, known: Collection[str]) -> Tables:
    """Return the pairs of a split between known modalities; without any, items with themselves."""
    tables = {pair: banks.pairs(*pair) for pair in banks.paired() if set(pair) <= set(known)}
    if paired := {pair: table for pair, table in tables.items() if len(table)}:
        return paired
    rows = {m: np.arange(len(banks.rows[m])) for m in known}
    return {(m, m): np.stack([own, own], axis=1) for m, own in rows.items()}


def summary(results: Results, name: str, ends: Ends) -> list[str]:
    """Return a line for each pair: what migrating keeps of the new model's R@1."""
    moved, all_new, before = (results[row] for row in (row_name(name, 0), ends.new, ends.old))
    return [
        f"{results.title}, {pair}: R@1 {moved[pair]['R@1']:.1f} with nothing embedded again"
        + (f", {all_new[pair]['R@1']:.1f} with everything" if pair in all_new else "")
        + (f"; {before[pair]['R@1']:.1f} before" if pair in before else "")
        for pair in moved
    ]


def plot_shares(results: Results, names: Sequence[str], ends: Ends, path: Path) -> None:
    """Draw R@1 by the share of items embedded again: a panel for each pair, a line for each map."""
    pairs = list(results[row_name(names[0], 0)])
    figure = Figure(figsize=(3.6 * len(pairs), 3.4), layout="constrained")
    for axes, pair in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        for name in names:
            points = [results[row_name(name, s)][pair]["R@1"] for s in SHARES[:-1]]
            last = results[ends.new].get(pair, {}).get("R@1", points[-1])
            axes.plot(SHARES, [*points, last], marker="o", label=name)
        if before := results[ends.old].get(pair):
            axes.axhline(before["R@1"], color="grey", linestyle=":", label=f"before: {ends.old}")
        axes.set(title=pair, xlabel="% of items embedded again", ylabel="R@1 of new queries, %")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    save_png(figure, path)
