"""docs/word_world.md, from the ``metrics.json`` of every seed: no figure in it is typed by hand.

python -m examples.word_world.report
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import tyro
from scipy import stats

from examples.word_world import targets
from examples.word_world.claims import (
    AI,
    AT,
    CLAIMS,
    DISPLACED,
    GOALS,
    IT,
    PRODUCT_CLAIMS,
    TUNED,
    TUNED_CLAIMS,
    UNTESTABLE,
    Claim,
    Result,
    difference,
    judge,
    recall,
)
from examples.word_world.results import BARE, MEMBERS_OF, SPACES, SUM
from fb_jax.banks import files
from fb_jax.console import run_command
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Interval, Sweep, plot_sweep
from fb_jax.evaluation.bootstrap import LEVEL
from fb_jax.fusion import PRESETS, Factors

HERE = Path(__file__).parent
TEMPLATE = HERE / "report.md"
PAIRS = (AT, AI, IT)
OPEN_POINTS = {
    "weighted sums L2-normalised, against bare": BARE,
    "aggregated embeddings L2-normalised, against as they come": "raw aggregation",
    "symmetric InfoNCE, against one direction": "one-way InfoNCE",
}
DECIDED = 0.5  # points of R@1: a smaller difference is none that matters
Table = list[Sequence[str]]
MARKS = (
    "<!-- word world: written by python -m examples.word_world.report -->",
    "<!-- /word world -->",
)
SHORT = {
    "imagebind": "unified (plays ImageBind)",
    "clap_general": "expert (plays CLAP general)",
    "clap_music": "expert (plays CLAP music)",
    "imagebind + clap_general, versatile": "with CLAP general, Versatile (the demo, over seeds)",
    "imagebind + clap_general, at_expertise": "with CLAP general, AT-Expertise",
    "imagebind_pp, versatile": "ImageBind++ (with both CLAPs), Versatile",
    "imagebind_pp, at_expertise": "ImageBind++ (with both CLAPs), AT-Expertise",
    "mean of scores: imagebind, clap_music, clap_general": "mean of the three scores, no bond",
    "internvl": "expert (plays InternVL)",
    "internvl_ib, it_expertise": "InternVL_IB (InternVL displaced)",
    "internvl_ib_tuned, it_expertise": "InternVL_IB† (its audio encoder tuned)",
    "internvl_ib_pp, versatile": "InternVL_IB++ (then both CLAPs), Versatile",
    "internvl_ib_tuned_pp, versatile": "InternVL_IB†++ (tuned, then both CLAPs), Versatile",
    "imagebind_sum, chosen on val, cut": "direct sum with both CLAPs, cut to 192 dimensions",
}
"""The rows of the README's table, and what they are called there."""


@dataclass(frozen=True)
class ReportConfig:
    """Write the report on the word world."""

    results: Path = HERE / "results"
    """Folder with a seed-N.json of each seed: its metrics.json."""

    worlds: Path | None = None
    """Folder that worlds were built in: their metrics are copied to the results first."""

    out: Path = Path("docs")
    """Where word_world.md and its picture go."""

    readme: Path | None = Path("README.md")
    """Its table of the word world is renewed."""


def main() -> None:
    """Run the command."""
    run_command(lambda: write_report(tyro.cli(ReportConfig)))


def write_report(config: ReportConfig) -> None:
    """Write ``word_world.md`` and ``word_world_sweep.png``."""
    for path in sorted(config.worlds.glob("seed-*/metrics.json")) if config.worlds else []:
        files.write_json(config.results / f"{path.parent.name}.json", files.read_json(path))
    results = [files.read_json(path) for path in sorted(config.results.glob("seed-*.json"))]
    if not results:
        raise FreeBindError(
            "there are no results", where=config.results, fix="python -m examples.word_world"
        )
    text = Template(TEMPLATE.read_text()).substitute(
        seeds=", ".join(str(result["seed"]) for result in results),
        versions=", ".join(f"{name} {v}" for name, v in results[0]["versions"].items()),
        spaces=markdown(spaces_table(results)),
        domains=markdown(domains_table(results)),
        models=markdown(models_table(results)),
        chosen=_chosen(results, "imagebind_pp"),
        weight=_chosen(results, SUM),
        direct_sum=markdown(direct_sum_table(results)),
        claims=markdown(claims_table(results, CLAIMS)),
        product_claims=markdown(claims_table(results, PRODUCT_CLAIMS)),
        tuned_claims=markdown(claims_table(results, TUNED_CLAIMS)),
        regained=markdown(regained_table(results)),
        tuning=markdown(tuning_table(results)),
        goals=markdown(claims_table(results, GOALS)),
        members="\n\n".join(map(markdown, members_tables(results))),
        open_points=markdown(open_points_table(results)),
        untestable="\n".join(f"- {line}" for line in UNTESTABLE),
    )
    files.write_atomic(config.out / "word_world.md", lambda file: file.write(text.encode()))
    experts_presets = {name: PRESETS[name] for name in ("versatile", "at_expertise")}
    title = f"imagebind_pp on validation, mean of {len(results)} seeds"
    plot_sweep(mean_sweep(results), experts_presets, title, config.out / "word_world_sweep.png")
    if config.readme is not None:
        renew_readme(config.readme, results)


def renew_readme(path: Path, results: Sequence[Result]) -> None:
    """Write the short table between the README's two marks."""
    start, end = (text.encode() for text in MARKS)
    text = path.read_bytes()
    if not text.count(start) == text.count(end) == 1:
        raise FreeBindError("the table's place is lost", where=path, expected=" ... ".join(MARKS))
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    rows: Table = [["test, R@1 / R@5 in %", *PAIRS]]
    for model, name in SHORT.items():
        rows.append([name, *(cell(results, model, pair) for pair in PAIRS)])
    told = f"Mean of {len(results)} seeds of everything, ± half of the 95 % interval over seeds."
    table = f"\n\n{markdown(rows)}\n\n{told}\n\n"
    renewed = before + start + table.encode() + end + after
    files.write_atomic(path, lambda file: file.write(renewed))


def markdown(rows: Table) -> str:
    """Return a table in Markdown; the first row is its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spaces_table(results: Sequence[Result]) -> Table:
    """Return how good every space is on validation, seed by seed, beside its target."""
    wanted = files.read_json(targets.TARGETS)
    told = {name: f"{low} to {high}" for name, (low, high) in wanted["ranges"].items()}
    told |= {
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
        rows.append([name, told.get(name, ""), *scores])
    return rows


def domains_table(results: Sequence[Result]) -> Table:
    """Return R@1 of the audio-text experts on each domain's test split."""
    rows: Table = [["expert, pair, domain", *(f"seed {r['seed']}" for r in results)]]
    for name in results[0]["domains"]:
        rows.append([name, *(f"{result['domains'][name]:.1f}" for result in results)])
    return rows


def models_table(results: Sequence[Result]) -> Table:
    """Return R@1 and R@5 of every model but single projectors and open points."""
    rows: Table = [["model", *(f"{pair} R@1 / R@5" for pair in PAIRS)]]
    rows.append(
        ["*best single source*", *(cell(results, best_source(results, p), p) for p in PAIRS)]
    )
    for model in results[0]["test"]:
        if "projector" not in model and not model.startswith(tuple(OPEN_POINTS.values())):
            rows.append([model, *(cell(results, model, pair) for pair in PAIRS)])
    return rows


def best_source(results: Sequence[Result], pair: str) -> str:
    """Return the space that is best at a pair of modalities by itself."""
    having = [space for space in SPACES if pair in results[0]["test"][space]]
    return max(having, key=lambda space: recall(results, space, pair))


def cell(results: Sequence[Result], model: str, pair: str) -> str:
    """Return R@1 with the half width of its interval over seeds, and R@5."""
    if pair not in results[0]["test"][model]:
        return ""
    first = [result["test"][model][pair]["R@1"] for result in results]
    return f"{np.mean(first):.1f}{half_width(first)} / {recall(results, model, pair, 5):.1f}"


def half_width(values: Sequence[float]) -> str:
    """Return the half width of Student's interval of a mean; nothing for a single value."""
    if len(values) < 2:
        return ""
    quantile = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return f" ± {quantile * stats.sem(values):.1f}"


def direct_sum_table(results: Sequence[Result]) -> Table:
    """Return R@1 on validation of the direct sum, by what a guess weighs and by dimensions."""
    rows: Table = [["validation", *(f"{pair} R@1" for pair in PAIRS)]]
    for name in results[0]["direct_sum"]:
        means = [
            np.mean([result["direct_sum"][name][pair] for result in results]) for pair in PAIRS
        ]
        rows.append([name, *(f"{mean:.1f}" for mean in means)])
    return rows


def regained_table(results: Sequence[Result]) -> Table:
    """Return by seed what a displacement cost audio-image, and what tuning changed."""
    rows: Table = [["", *(f"seed {r['seed']}" for r in results), "mean"]]
    for name, model, against in (
        ("displacement, against the unified space", DISPLACED, "imagebind"),
        ("tuning, against the displacement", TUNED, DISPLACED),
        ("tuned, against the unified space", TUNED, "imagebind"),
    ):
        found = [difference([r], model, against, AI).mean for r in results]
        rows.append([name, *(f"{value:+.1f}" for value in [*found, float(np.mean(found))])])
    return rows


def tuning_table(results: Sequence[Result]) -> Table:
    """Return R@1 on validation at other settings of the tuning."""
    rows: Table = [["validation", *(f"{pair} R@1" for pair in PAIRS)]]
    for name in results[0]["tuning"]:
        means = [np.mean([result["tuning"][name][pair] for result in results]) for pair in PAIRS]
        rows.append([name, *(f"{mean:.1f}" for mean in means)])
    return rows


def claims_table(results: Sequence[Result], claims: Sequence[Claim]) -> Table:
    """Return every claim with its verdict."""
    rows: Table = [["claim", "the paper", "here, difference in R@1", "seeds", "verdict"]]
    for claim in claims:
        verdict, found, best = judge(claim, results)
        ours = f"{claim.pair}: {recall(results, claim.model, claim.pair):.1f} against "
        ours += f"{recall(results, best, claim.pair):.1f} ({best}): {points(found)}"
        seeds = [difference([r], claim.model, best, claim.pair).mean for r in results]
        rows.append(
            [claim.says, claim.paper, ours, ", ".join(f"{s:+.1f}" for s in seeds), f"**{verdict}**"]
        )
    return rows


def points(found: Interval) -> str:
    """Return a difference and its interval."""
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def members_tables(results: Sequence[Result]) -> Iterable[Table]:
    """Return the form of Table 8 for every product whose projectors were tried one by one."""
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
    """Return what the paper leaves open and this world can try, at both presets."""
    ours = next(iter(MEMBERS_OF))
    rows: Table = [["our default, against the other", *(f"{p}, difference in R@1" for p in PAIRS)]]
    for what, other in OPEN_POINTS.items():
        for preset in ("versatile", "at_expertise"):
            found = [
                difference(results, f"{ours}, {preset}", f"{other}, {preset}", pair)
                for pair in PAIRS
            ]
            cells = [f"{points(f)}{'' if matters(f) else ' none'}" for f in found]
            rows.append([f"{what} ({preset})", *cells])
    return rows


def matters(found: Interval) -> bool:
    """Tell whether a difference is one: its interval excludes 0, and it is not tiny."""
    return not found.low <= 0 <= found.high and abs(found.mean) >= DECIDED


def _chosen(results: Sequence[Result], product: str) -> str:
    return "; ".join(f"seed {r['seed']}: {_told(r['chosen'][product])}" for r in results)


def _told(factors: Factors) -> str:
    if len(same := set(factors.values())) == 1:
        return f"{same.pop():g}"
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())


def mean_sweep(results: Sequence[Result]) -> Sweep:
    """Return the mean over seeds of the factor surfaces on validation (Figure 3's form)."""
    sweeps: list[Mapping] = [result["sweep"] for result in results]
    first = sweeps[0]
    return Sweep(
        modalities=tuple(first["modalities"]),
        grid=first["grid"],
        surfaces={p: np.mean([s["surfaces"][p] for s in sweeps], 0) for p in first["surfaces"]},
        unified={p: float(np.mean([s["unified"][p] for s in sweeps])) for p in first["unified"]},
    )


if __name__ == "__main__":
    main()
