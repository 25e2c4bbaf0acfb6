"""What options of pseudo pairs and of training bring, with intervals.

python -m benchmarks.better_bonds BANK_ROOT ...: on every root (the seeds of a world, say) it trains
the combination of clap_general and imagebind as it is, and with each option. R@1 on val, mean of
both directions, at factors that are chosen on val: the difference to the bond as it is, with a
paired bootstrap over the items of val.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import direction_ranks, paired_bootstrap, sweep
from fb_jax.evaluation.models import fused_rows, tables_for
from fb_jax.evaluation.surfaces.choosing import Aim, choose
from fb_jax.fusion import FusedSpace
from fb_jax.pseudo import PairSpec, Retrieval, build_pairs
from fb_jax.training import Runtime, Training, train_bond

SPACES = ("imagebind", "clap_general")
PAIRS = (("audio", "text"), ("audio", "image"), ("image", "text"))
PLAIN = Training(batch=256, hidden=256)
AS_IT_IS = (Retrieval(), PLAIN)
OPTIONS: Mapping[str, tuple[Retrieval, Training]] = {
    "another seed": (Retrieval(), replace(PLAIN, seed=1)),
    "ensemble 6": (Retrieval(), replace(PLAIN, ensemble=6.0)),
    "InfoNCE at 1/100": (Retrieval(), replace(PLAIN, temperature=0.01)),
    "item pairs": (Retrieval("nearest"), PLAIN),
}

Hits = np.ndarray
"""``[pairs, n]``: 100 for an item whose match ranks first in both directions, 50 in one."""


def hits(root: str, pairs: Retrieval, training: Training) -> Hits:
    """Train a bond on a root, choose its factors, and return its hits on val."""
    pool, val = (open_banks(root, split, spaces=SPACES) for split in ("pool", "val"))
    built = build_pairs(PairSpec(pool, *SPACES, pairs))
    bond = train_bond(built, "combination", None, training, Runtime(log_steps=100))
    return hits_of(FusedSpace.of(bond), val)


def hits_of(space: FusedSpace, val: BankSet) -> Hits:
    """Return the hits of a space at the factors that are best on val; row i goes with row i."""
    at = space.choosing(choose(sweep(space, val), Aim.parse("mean")).factors)
    rows, tables = fused_rows(at, val), tables_for(at, val)
    ranks = [direction_ranks(*(rows[m] for m in pair), tables[pair]).values() for pair in PAIRS]
    return np.array([[100.0 * (by < 1) for by in both] for both in ranks]).mean(axis=1)


def main(roots: list[str]) -> None:
    base = [hits(root, *AS_IT_IS) for root in roots]
    print(f"| option | {' | '.join(map('-'.join, PAIRS))} | mean |\n|{'---|' * (len(PAIRS) + 2)}")
    means = np.mean([own.mean(axis=1) for own in base], axis=0)
    print("| as it is |", " | ".join(f"{x:.1f}" for x in (*means, means.mean())), "|")
    for name, (pairs, training) in OPTIONS.items():
        gains = [hits(root, pairs, training) - own for root, own in zip(roots, base, strict=True)]
        by_pair = [[gain[i] for gain in gains] for i in range(len(PAIRS))]
        columns = [*by_pair, [gain.mean(axis=0) for gain in gains]]
        cells = ("{:+.1f} [{:+.1f}, {:+.1f}]".format(*paired_bootstrap(x)) for x in columns)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
