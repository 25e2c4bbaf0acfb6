"""The tables of the report, as rows of text: computed from the results of all seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from examples.word_world import targets
from examples.word_world.claims import (
    AI,
    AT,
    DISPLACED,
    IT,
    TUNED,
    Claim,
    Result,
    difference,
    judge,
    recall,
)
from examples.word_world.results import BARE, MEMBERS_OF, SPACES
from fb_jax import files
from fb_jax.evaluation import Interval
from fb_jax.evaluation.bootstrap import LEVEL
from fb_jax.fusion import Factors

PAIRS = (AT, AI, IT)
OPEN_POINTS = {
    "weighted sums L2-normalised, against not": BARE,
    "aggregated embeddings L2-normalised, against not": "raw aggregation",
    "InfoNCE in both directions, against one": "one-way InfoNCE",
}
SMALLEST = 0.5  # points of R@1: smaller differences do not count
SHORT = {
    "imagebind": "unified space (plays ImageBind)",
    "clap_general": "expert (plays CLAP general)",
    "clap_music": "expert (plays CLAP music)",
    "imagebind + clap_general, versatile": "with CLAP general, Versatile (as in the demo)",
    "imagebind + clap_general, at_expertise": "with CLAP general, AT-Expertise",
    "imagebind_pp, versatile": "ImageBind++ (with both CLAPs), Versatile",
    "imagebind_pp, at_expertise": "ImageBind++ (with both CLAPs), AT-Expertise",
    "mean of scores: imagebind, clap_music, clap_general": "mean of the three scores, no bond",
    "internvl": "expert (plays InternVL)",
    "internvl_ib, it_expertise": "InternVL_IB (InternVL displaced)",
    "internvl_ib_tuned, it_expertise": "InternVL_IB† (and its audio encoder tuned)",
    "internvl_ib_pp, versatile": "InternVL_IB++ (with both CLAPs), Versatile",
    "internvl_ib_tuned_pp, versatile": "InternVL_IB†++ (tuned, with both CLAPs), Versatile",
    "imagebind_sum, chosen on val, cut": "direct sum with both CLAPs, cut to 192 dimensions",
}
"""The models of the README's table, and their names there."""

Table = list[Sequence[str]]
"""Rows of cells; the first row is the head."""


def markdown(rows: Table) -> str:
    """Return a table in Markdown."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short_table(results: Sequence[Result]) -> Table:
    """Return the README's table."""
    rows: Table = [["test, R@1 / R@5 in %", *PAIRS]]
    for model, name in SHORT.items():
        rows.append([name, *(cell(results, model, pair) for pair in PAIRS)])
    return rows


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
    """Return R@1 and R@5 of every model except single projectors and open points."""
    rows: Table = [["model", *(f"{pair} R@1 / R@5" for pair in PAIRS)]]
    rows.append(
        ["*best single source*", *(cell(results, best_source(results, p), p) for p in PAIRS)]
    )
    for model in results[0]["test"]:
        if "projector" not in model and not model.startswith(tuple(OPEN_POINTS.values())):
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


def validation_table(results: Sequence[Result], section: str) -> Table:
    """Return R@1 on validation, the mean over seeds, of the variants in a section."""
    rows: Table = [["validation", *(f"{pair} R@1" for pair in PAIRS)]]
    for name in results[0][section]:
        means = [np.mean([result[section][name][pair] for result in results]) for pair in PAIRS]
        rows.append([name, *(f"{mean:.1f}" for mean in means)])
    return rows


def regained_table(results: Sequence[Result]) -> Table:
    """Return what a displacement costs audio-image, and what tuning regains, for each seed."""
    rows: Table = [["", *(f"seed {r['seed']}" for r in results), "mean"]]
    for name, model, against in (
        ("displacement, against the unified space", DISPLACED, "imagebind"),
        ("tuning, against the displacement", TUNED, DISPLACED),
        ("tuned, against the unified space", TUNED, "imagebind"),
    ):
        changes = [difference([r], model, against, AI).mean for r in results]
        rows.append([name, *(f"{value:+.1f}" for value in [*changes, float(np.mean(changes))])])
    return rows


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


def members_tables(results: Sequence[Result]) -> Iterable[Table]:
    """Return a table in the form of Table 8 for each space in ``MEMBERS_OF``."""
    for product, preset in MEMBERS_OF.items():
        mixture = f"{product}, {preset}"
        rows: Table = [[f"{mixture}: trained on", *(f"{pair} R@1" for pair in PAIRS)]]
        prefix = f"{product}, projector "
        for model in results[0]["test"]:
            if model.startswith(prefix):
                figures = [f"{recall(results, model, pair):.1f}" for pair in PAIRS]
                rows.append([model.removeprefix(prefix), *figures])
        rows.append(["mixture", *(f"**{recall(results, mixture, pair):.1f}**" for pair in PAIRS)])
        yield rows


def open_points_table(results: Sequence[Result]) -> Table:
    """Return our default against the alternative, for what the paper leaves open."""
    ours = next(iter(MEMBERS_OF))
    rows: Table = [["our default, against the other", *(f"{p}, difference in R@1" for p in PAIRS)]]
    for choice, other in OPEN_POINTS.items():
        for preset in ("versatile", "at_expertise"):
            models = f"{ours}, {preset}", f"{other}, {preset}"
            intervals = [difference(results, *models, pair) for pair in PAIRS]
            cells = [f"{points(i)}{'' if matters(i) else ' none'}" for i in intervals]
            rows.append([f"{choice} ({preset})", *cells])
    return rows


def matters(interval: Interval) -> bool:
    """Return whether a difference counts: its interval excludes 0, and it is not tiny."""
    return not interval.low <= 0 <= interval.high and abs(interval.mean) >= SMALLEST


def chosen_factors(results: Sequence[Result], product: str) -> str:
    """Return the factors that every seed chose on validation, as text."""
    return "; ".join(f"seed {r['seed']}: {_as_text(r['chosen'][product])}" for r in results)


def _as_text(factors: Factors) -> str:
    if len(values := set(factors.values())) == 1:
        return f"{values.pop():g}"
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())
