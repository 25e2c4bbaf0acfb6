"""Beyond the paper: one space against its sources and their ensemble, on the word world.

    python -m examples.word_world.beyond --runs RUN... --data BANK_ROOT... --split val

evaluates the product ``one`` of several seeds and what it is compared with, and prints the table
and the verdicts of the claims. The claims and their margins were committed before any test split
was read with such a space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from examples.word_world.claims import AI, AT, IT, Claim
from examples.word_world.results import pack, unpack
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import KS, Interval, direction_ranks, paired_bootstrap
from fb_jax.evaluation.hubs import corrected, fit_hubs
from fb_jax.evaluation.models import pair_tables, source_rows
from fb_jax.evaluation.spaces import HUBS, PlainRow, Row, models_of
from fb_jax.fusion import FusedSpace, uncut

Figures = dict[str, dict[str, dict[str, Any]]]
"""Model to pair to R@k and ``first``, the items whose match ranks first, of both directions."""

NAME, MEAN = "one", "mean_of_scores"
ONE = f"{NAME}{HUBS}"
CLAIMS = (
    Claim("audio-text beats the mean of scores by 8 points", "", AT, ONE, (MEAN,), 8.0),
    Claim("audio-text beats the hub-corrected mean of scores", "", AT, ONE, (f"{MEAN}{HUBS}",)),
    Claim("audio-image beats the unified space by 1.5 points", "", AI, ONE, ("unified",), 1.5),
    Claim("image-text beats the unified space by 1.5 points", "", IT, ONE, ("unified",), 1.5),
    Claim("image-text beats InternVL by 1 point", "", IT, ONE, ("internvl",), 1.0),
    Claim(
        "image-text beats the mean of scores, plain and hub-corrected",
        "",
        *(IT, ONE, (MEAN, f"{MEAN}{HUBS}")),
    ),
)
"""Each is about the same space, of as many dimensions as the unified one and its bias columns."""


def rows_of(space: FusedSpace, pool: BankSet, val: BankSet) -> dict[str, Row]:
    """Return every row of the table; each correction is fitted on the pool and ``val``."""
    plain: dict[str, PlainRow] = {**source_rows(space), **ablated(space.plain)}
    fitted = fit_hubs(plain, pool, val)
    return {**plain, **corrected(plain, fitted), ONE: space}


def ablated(space: FusedSpace) -> dict[str, PlainRow]:
    """Return the space without hub correction, and without more of its parts."""
    unrouted = space.with_last(replace(space.last, routers={}))
    return {
        NAME: space,
        f"{NAME}, uncut": uncut(space),
        f"{NAME}, without router": unrouted,
        f"{NAME}, without router, uncut": uncut(unrouted),
    }


def measure(rows: Mapping[str, Row], banks: BankSet) -> Figures:
    """Return the figures of every row on a split with pairs."""
    tables = pair_tables(tuple(banks.rows), banks)
    models, found = models_of(rows, banks), {}
    for name in list(models):
        model = models.pop(name)
        own = {m: (model[m], model.queries[m]) for m in model}
        found[name] = {
            f"{left}-{right}": _figures(own[left], own[right], table)
            for (left, right), table in tables.items()
            if {left, right} <= own.keys()
        }
    return found


def _figures(left: tuple[Any, Any], right: tuple[Any, Any], table: np.ndarray) -> dict[str, Any]:
    asking = left[1], right[1]
    ranks = list(direction_ranks(left[0], right[0], table, asking=asking).values())
    recalls = {f"R@{k}": float(100 * np.mean([r < k for r in ranks])) for k in KS}
    return {**recalls, "first": [pack(r < 1) for r in ranks]}


def hits(figures: Mapping[str, Any], count: int) -> np.ndarray:
    """Return for every item 100 if its match ranks first, the mean of both directions."""
    return 50.0 * sum(unpack(digits, count).astype(float) for digits in figures["first"])


def verdicts(seeds: Sequence[Figures], count: int) -> list[str]:
    """Return a line for each claim; it holds if the whole interval is at its margin or above."""
    lines = []
    for claim in CLAIMS:
        for other in claim.against:
            mine, theirs = (
                [one[name][claim.pair] for one in seeds] for name in (claim.model, other)
            )
            apart = [hits(a, count) - hits(b, count) for a, b in zip(mine, theirs, strict=True)]
            by, mean = paired_bootstrap(apart), lambda side: np.mean([one["R@1"] for one in side])
            each = ", ".join(f"{one.mean():+.1f}" for one in apart)
            lines.append(
                f"| {claim.says} | {mean(mine):.1f} against {mean(theirs):.1f} ({other}) | "
                f"{by.mean:+.1f} [{by.low:+.1f}, {by.high:+.1f}] | {each} | "
                f"**{_verdict(by, claim.margin)}** |"
            )
    return lines


def _verdict(by: Interval, margin: float) -> str:
    return "holds" if by.low >= margin else "fails" if by.high < margin else "open"


def table(seeds: Sequence[Figures]) -> list[str]:
    """Return the means over the seeds, R@1 / R@5, as Markdown."""
    lines = [f"| R@1 / R@5 in % | {AT} | {AI} | {IT} |", "| --- | --- | --- | --- |"]
    for name in seeds[0]:
        cells = [_cell([one.get(name, {}).get(pair) for one in seeds]) for pair in (AT, AI, IT)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(figures: Sequence[Mapping[str, Any] | None]) -> str:
    there = [one for one in figures if one]
    if len(there) < len(figures):
        return ""
    return " / ".join(f"{np.mean([one[k] for one in there]):.1f}" for k in ("R@1", "R@5"))


def main(
    runs: tuple[Path, ...], data: tuple[Path, ...], split: str = "val", out: Path | None = None
) -> None:
    """Evaluate the product ``one`` of some seeds.

    Args:
        runs: Folder with the product of each seed, as ``freebind train --out`` names it.
        data: Bank root of each.
        split: Split to read.
        out: Also write the figures to this file.
    """
    seeds = []
    for run, root in zip(runs, data, strict=True):
        space = FusedSpace.load(run / NAME / "space")
        pool, val, asked = (
            open_banks(root, s, spaces=space.spaces) for s in ("pool", "val", split)
        )
        seeds.append(measure(rows_of(space, pool, val), asked))
        count = len(asked.rows["text"])
    print("\n".join([*table(seeds), "", *verdicts(seeds, count)]))
    if out is not None:
        files.write_json(out, {"split": split, "items": count, "seeds": seeds})


if __name__ == "__main__":
    tyro.cli(main)
