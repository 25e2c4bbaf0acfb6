"""The tables of the report, as rows of text: computed from the results of all seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from examples.word_world import targets
from examples.word_world.claims import AI, AT, IT, Claim, Result, difference, judge, recall
from examples.word_world.results import SPACES
from fb_jax import files
from fb_jax.evaluation import Interval
from fb_jax.evaluation.bootstrap import LEVEL
from fb_jax.fusion import Factors

PAIRS = (AT, AI, IT)
Table = list[Sequence[str]]
"""Rows of cells; the first row is the head."""


def markdown(rows: Table) -> str:
    """Return a table in Markdown."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spaces_table(results: Sequence[Result]) -> Table:
    """Return R@1 of every native space on validation, for each seed, and its target."""
    wanted = files.read_json(targets.TARGETS)
    shown = {name: f"{low} to {high}" for name, (low, high) in wanted["ranges"].items()}
    shown |= {
        better: f"above {worse}" + (f" by {margin}" if margin else "")
        for better, worse, margin in wanted["margins"]
    }
    rows: Table = [["space, pair, domain", "target", *(f"seed {r['seed']}" for r in results)]]
    misses = [" ".join(targets.missed(result["spaces"], wanted)) for result in results]
    for name in results[0]["spaces"]:
        scores = [
            f"{result['spaces'][name]:.1f}" + (" **missed**" if f"{name}:" in missed else "")
            for result, missed in zip(results, misses, strict=True)
        ]
        rows.append([name, shown.get(name, ""), *scores])
    return rows


def domains_table(results: Sequence[Result]) -> Table:
    """Return R@1 of the audio-text experts on the test split of each domain."""
    rows: Table = [["expert, pair, domain", *(f"seed {r['seed']}" for r in results)]]
    for name in results[0]["domains"]:
        rows.append([name, *(f"{result['domains'][name]:.1f}" for result in results)])
    return rows


def models_table(results: Sequence[Result]) -> Table:
    """Return R@1 and R@5 of every model except single projectors."""
    rows: Table = [["model", *(f"{pair} R@1 / R@5" for pair in PAIRS)]]
    rows.append(
        ["*best single source*", *(cell(results, best_source(results, p), p) for p in PAIRS)]
    )
    for model in results[0]["test"]:
        if "projector" not in model:
            rows.append([model, *(cell(results, model, pair) for pair in PAIRS)])
    return rows


def best_source(results: Sequence[Result], pair: str) -> str:
    """Return the native space that is best at a pair of modalities."""
    candidates = [space for space in SPACES if pair in results[0]["test"][space]]
    return max(candidates, key=lambda space: recall(results, space, pair))


def cell(results: Sequence[Result], model: str, pair: str) -> str:
    """Return R@1 with half its interval over the seeds, and R@5."""
    if pair not in results[0]["test"][model]:
        return ""
    first = [result["test"][model][pair]["R@1"] for result in results]
    return f"{np.mean(first):.1f}{half_width(first)} / {recall(results, model, pair, 5):.1f}"


def half_width(values: Sequence[float]) -> str:
    """Return half of Student's interval of a mean; nothing for a single value."""
    if len(values) < 2:
        return ""
    quantile = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return f" ± {quantile * stats.sem(values):.1f}"


def claims_table(results: Sequence[Result], claims: Sequence[Claim]) -> Table:
    """Return every claim with its verdict."""
    rows: Table = [["claim", "the paper", "here, difference in R@1", "seeds", "verdict"]]
    for claim in claims:
        verdict, interval, nearest = judge(claim, results)
        ours = f"{claim.pair}: {recall(results, claim.model, claim.pair):.1f} against "
        ours += f"{recall(results, nearest, claim.pair):.1f} ({nearest}): {points(interval)}"
        by_seed = [difference([r], claim.model, nearest, claim.pair).mean for r in results]
        seeds = ", ".join(f"{change:+.1f}" for change in by_seed)
        rows.append([claim.says, claim.paper, ours, seeds, f"**{verdict}**"])
    return rows


def points(interval: Interval) -> str:
    """Return a difference and its interval as text."""
    return f"{interval.mean:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def chosen_factors(results: Sequence[Result], product: str) -> str:
    """Return the factors that every seed chose on validation, as text."""
    return "; ".join(f"seed {r['seed']}: {_as_text(r['chosen'][product])}" for r in results)


def _as_text(factors: Factors) -> str:
    if len(values := set(factors.values())) == 1:
        return f"{values.pop():g}"
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())
