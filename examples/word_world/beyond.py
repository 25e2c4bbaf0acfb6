"""Beyond the paper: one space against its sources and their ensemble, on the word world.

    python -m examples.word_world.beyond --runs RUN... --data BANK_ROOT... --split val

evaluates the product ``one`` of several seeds and what it is compared with, and prints the table
and the verdicts of the claims. The claims and their margins were committed before any test split
was read with such a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from examples.word_world.claims import AI, AT, IT, Claim, Result
from examples.word_world.results import measure
from examples.word_world.tables import PAIRS, Table, cell, claims_table, markdown
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation.hubs import corrected, fit_hubs
from fb_jax.evaluation.models import pair_tables, source_rows
from fb_jax.evaluation.spaces import PlainRow, Row, models_of
from fb_jax.fusion import FusedSpace, uncut
from fb_jax.fusion.card import HUBS

HERE = Path(__file__).parent

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


def table(seeds: Sequence[Result]) -> Table:
    """Return the means over the seeds, R@1 / R@5."""
    models = seeds[0]["test"]
    return [["R@1 / R@5 in %", *PAIRS], *([m, *(cell(seeds, m, p) for p in PAIRS)] for m in models)]


@dataclass(frozen=True)
class _Kept:
    """Figures of every seed, as ``measure`` returns them."""

    seeds: list[dict[str, Any]]


def main(
    runs: tuple[Path, ...] = (),
    data: tuple[Path, ...] = (),
    split: str = "val",
    out: Path | None = None,
    results: Path = HERE / "results" / "beyond.json",
) -> None:
    """Evaluate the product ``one`` of some seeds, and print the table and the verdicts.

    Args:
        runs: Folder with the product of each seed, as ``freebind train --out`` names it. Without
            runs, the figures of ``results`` are printed.
        data: Bank root of each.
        split: Split to read.
        out: Also write the figures to this file.
        results: Figures that were measured before.
    """
    pairs = zip(runs, data, strict=True)
    seeds = [_measured(*pair, split) for pair in pairs] or files.read_json(results, _Kept).seeds
    print(markdown(table(seeds)), markdown(claims_table(seeds, CLAIMS)), sep="\n\n")
    if out is not None:
        files.write_json(out, {"seeds": seeds})


def _measured(run: Path, root: Path, split: str) -> Result:
    """Return the figures of a seed; ``test`` has those of the split, whichever it is."""
    space = FusedSpace.load(run / NAME / "space")
    pool, val, asked = (open_banks(root, s, spaces=space.spaces) for s in ("pool", "val", split))
    tables = pair_tables(tuple(asked.rows), asked)
    models = models_of(rows_of(space, pool, val), asked)
    figures = {name: measure(models.pop(name), tables) for name in list(models)}
    return {"split": split, "items": len(asked.rows["text"]), "test": figures}


if __name__ == "__main__":
    tyro.cli(main)
