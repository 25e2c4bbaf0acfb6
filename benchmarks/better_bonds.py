"""What options of pseudo pairs and of training bring: the table of docs/bonds_tried.md.

python -m benchmarks.better_bonds --data ROOT ... trains on every bank root (the seeds of a world,
say) one projector that combines clap_general with imagebind, as it is and with each option.

python -m benchmarks.better_bonds --data ROOT ... --plain RUNS ... --changed RUNS ... compares
finished products and bonds of two folders of runs for each root: ``freebind train --product NAME
--data ROOT --out RUNS --config fb_jax/word_world/config.yaml``, with an option and without.

All figures are R@1 on val, at factors that are chosen on val for the mean of all pairs; the
differences have a paired bootstrap over the items of val.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import tyro

from benchmarks.recalls import PAIRS, Hits, at_best, changes, hits, levels, print_head, print_row
from fb_jax.banks import open_banks
from fb_jax.fusion import FusedSpace
from fb_jax.projector.pipelines import PIPELINES
from fb_jax.pseudo import PairSpec, Retrieval, build_pairs
from fb_jax.training import Runtime, Training, load_bond, train_bond

SPACES = ("imagebind", "clap_general")
ONE_PROJECTOR = {"freebind": replace(PIPELINES["freebind"], starts="all")}
PLAIN = Training(batch=256, hidden=256)
OPTIONS: Mapping[str, tuple[Retrieval, Training]] = {
    "another seed": (Retrieval(), replace(PLAIN, seed=1)),
    "ensemble 6": (Retrieval(), replace(PLAIN, ensemble=6.0)),
    "InfoNCE at 1/100": (Retrieval(), replace(PLAIN, temperature=1 / 100)),
    "InfoNCE at 1/20": (Retrieval(), replace(PLAIN, temperature=1 / 20)),
    "item pairs": (Retrieval("nearest"), PLAIN),
    "soft retrieval within the top 4": (Retrieval("benchmarks.better_bonds:top_4"), PLAIN),
    "soft retrieval within the top 16": (Retrieval("benchmarks.better_bonds:top_16"), PLAIN),
}
FINISHED = (
    *("imagebind-combination-clap_general", "imagebind-combination-clap_music"),
    *("imagebind-displacement-internvl", "imagebind_pp", "internvl_ib_pp"),
)
"""Bonds and products of a folder of runs."""


@partial(jax.jit, static_argnames=("k", "temperature"))
def within(rows: Any, keys: Any, values: Any, k: int, temperature: float) -> Any:
    best, places = jax.lax.top_k(rows @ keys.T, k)
    weights = jax.nn.softmax(best / temperature)
    return tuple(jnp.einsum("qk,qkd->qd", weights, value[places]) for value in values)


def top(k: int, queries: Any, blocks: Any, temperature: float) -> Any:
    """Return ``A(q; K -> V)`` over the k nearest keys of each query alone."""
    held = [[part[: block.size] for part in (block.keys, *block.values)] for block in blocks]
    keys, *values = map(jnp.concatenate, zip(*held, strict=True))
    starts = range(0, len(queries), 512)
    found = [within(queries[i : i + 512], keys, values, k, temperature) for i in starts]
    return tuple(map(jnp.concatenate, zip(*found, strict=True)))


def top_4(queries: Any, blocks: Any, _dims: Any, *, temperature: float, **_: Any) -> Any:
    return top(4, queries, blocks, temperature)


def top_16(queries: Any, blocks: Any, _dims: Any, *, temperature: float, **_: Any) -> Any:
    return top(16, queries, blocks, temperature)


def trained(root: Path, pairs: Retrieval, training: Training) -> Hits:
    """Train a bond of one projector on a root and return its hits."""
    pool, val = (open_banks(root, split, spaces=SPACES) for split in ("pool", "val"))
    with patch.dict(PIPELINES, ONE_PROJECTOR):
        built = build_pairs(PairSpec(pool, *SPACES, pairs))
        bond = train_bond(built, "combination", None, training, Runtime(log_steps=100))
    return hits(at_best(FusedSpace.of(bond), val), val)


def finished(root: Path, run: Path) -> dict[str, Hits]:
    """Return the hits of a finished bond or product at chosen factors and at its first preset."""
    bond = run / "bond"
    space = FusedSpace.of(load_bond(bond)) if bond.exists() else FusedSpace.load(run / "space")
    val, pool = (open_banks(root, split, spaces=space.spaces) for split in ("val", "pool"))
    preset = next(name for name in space.presets if name != "chosen")
    best = at_best(space.plain, val)
    return {
        "chosen": hits(best, val),
        "chosen, hub-corrected": hits(best, val, pool),
        preset: hits(space.at(preset), val),
    }


Roots = tuple[Path, ...]


def compare(data: Roots, plain_runs: Roots, changed_runs: Roots) -> None:
    for name in FINISHED:
        plain, changed = (
            [finished(root, run / name) for root, run in zip(data, runs, strict=True)]
            for runs in (plain_runs, changed_runs)
        )
        for at in plain[0]:
            old, new = ([points[at] for points in found] for found in (plain, changed))
            print_row(f"{name}, {at}", levels(old))
            print_row("changed", levels(new))
            print_row("difference", changes(old, new))


def screen(roots: Roots) -> None:
    plain = [trained(root, Retrieval(), PLAIN) for root in roots]
    print_row("as it is", levels(plain))
    for name, option in OPTIONS.items():
        print_row(name, changes(plain, [trained(root, *option) for root in roots]))


def main(data: Roots, plain: Roots = (), changed: Roots = ()) -> None:
    print_head("option", *map("-".join, PAIRS), "mean")
    compare(data, plain, changed) if changed else screen(data)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
