"""What the results of ``benchmarks.robustness`` say: correlations, and the figures of the docs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import ConstantInputWarning, spearmanr

PAIRS = ("audio-text", "audio-image", "image-text")
COLOURS = dict(zip(PAIRS, ("tab:red", "tab:blue", "tab:green"), strict=True))
RESAMPLES, LEVEL = 2000, 0.95
CLEAR = 1.0
"""Points of R@1; the sign of a smaller gain is not counted."""

Record = Mapping[str, Any]
Records = Mapping[str, Record]


def correlation(records: Sequence[Record], at: str, pairs: Sequence[str]) -> list[float]:
    """Return Spearman's rank correlation of expected and real gains, its interval, its points.

    The interval is a percentile bootstrap over bonds: the points of one bond stay together.
    """
    expected, gains = columns(records, at, pairs)
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(records), size=len(records)) for _ in range(RESAMPLES))
    rhos = [spearman(expected[rows], gains[rows]) for rows in drawn]
    tail = (1 - LEVEL) / 2
    interval = np.nanquantile(rhos, [tail, 1 - tail])
    return [spearman(expected, gains), *map(float, interval), float(gains.size)]


def columns(records: Sequence[Record], at: str, pairs: Sequence[str]) -> list[np.ndarray]:
    """Return expected and real gains, bonds x pairs."""
    kinds = ("expected", "gains")
    return [np.array([[r[kind][at][p] for p in pairs] for r in records]) for kind in kinds]


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation over all entries; NaN if all of one side are equal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(x.ravel(), y.ravel()).statistic)


def plain_rule(records: Sequence[Record], at: str, pairs: Sequence[str]) -> float:
    """Return the correlation of gains with a rule without measures: the expert has both, or not."""
    known = [set(next(iter(r["carried"].values()))) for r in records]
    has = [[set(pair.split("-")) <= modalities for pair in pairs] for modalities in known]
    return spearman(np.array(has), columns(records, at, pairs)[1])


def signs(records: Sequence[Record], at: str, pairs: Sequence[str]) -> tuple[int, int]:
    """Return in how many clear gains and losses the expected sign is right, and of how many."""
    both = [(r["expected"][at][p], r["gains"][at][p]) for r in records for p in pairs]
    clear = [(expected, gain) for expected, gain in both if abs(gain) >= CLEAR]
    return sum(expected * gain > 0 for expected, gain in clear), len(clear)


def trained(results: Records) -> list[Record]:
    """Return the results of trained bonds."""
    return [r for r in results.values() if r["corruption"] != "untrained"]


def correlations(results: Records) -> Iterable[str]:
    """Yield the rows of a Markdown table."""
    heads = "bonds", "pairs", "factors", "Spearman", "95 % interval", "points", "sign right"
    yield f"| {' | '.join(heads)} | plain rule |"
    yield "|---|---|---|---|---|---|---|---|"
    bonds = trained(results)
    groups = [("all", bonds, PAIRS), *(("all", bonds, (pair,)) for pair in PAIRS)]
    clean = [r for r in bonds if r["corruption"] == "none"]
    groups += [("clean pools", clean, PAIRS)]
    groups += [("corrupted pools", [r for r in bonds if r not in clean], PAIRS)]
    for name, records, pairs in groups:
        for at in ("preset", "chosen"):
            rho, low, high, count = correlation(records, at, pairs)
            right, clear = signs(records, at, pairs)
            yield (
                f"| {name} | {'all' if pairs == PAIRS else pairs[0]} | {at} | {rho:.2f} "
                f"| {low:.2f} to {high:.2f} | {count:.0f} | {right} of {clear} "
                f"| {plain_rule(records, at, pairs):.2f} |".replace("nan", "none")
            )


def draw(results: Records, folder: Path) -> None:
    """Write the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: Mapping[str, Callable[[Records], Figure]] = {
        "prediction": prediction,
        "quality": quality,
        "conflict": conflict,
        "domain": domain,
    }
    for name, figure in figures.items():
        drawn = figure(results)
        FigureCanvasAgg(drawn)
        drawn.savefig(folder / f"diagnosis_{name}.png", dpi=90)


def prediction(results: Records) -> Figure:
    """Draw real against expected gains."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, at in zip(panels, ("preset", "chosen"), strict=True):
        for pair, colour in COLOURS.items():
            for clean, marker in ((True, "o"), (False, "x")):
                own = [r for r in trained(results) if (r["corruption"] == "none") == clean]
                points = [(r["expected"][at][pair], r["gains"][at][pair]) for r in own]
                label = pair if clean else None
                axes.plot(*np.transpose(points), marker, color=colour, label=label, alpha=0.7)
        rho, low, high, count = correlation(trained(results), at, PAIRS)
        title = f"{at} factors, {count:.0f} points: Spearman {rho:.2f} [{low:.2f}, {high:.2f}]"
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("expected gain (scale arbitrary)")
        axes.set_xscale("symlog", linthresh=0.01)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.axvline(0, color="grey", linewidth=0.8)
    panels[0].set_ylabel("gain on test, points of R@1")
    panels[0].legend(title="o clean, x corrupted pool", fontsize="small")
    return figure


def quality(results: Records) -> Figure:
    """Draw gains against noise, shuffled rows and the size of the pool."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    labels = {
        "noise": "norm of the noise on unit rows",
        "shuffled": "share of the expert's rows shuffled",
        "fraction": "share of the pool",
    }
    for axes, (corruption, label) in zip(panels, labels.items(), strict=True):
        for expert, style in (("clap_general", "-o"), ("internvl", "--s")):
            for pair, colour in COLOURS.items():
                points = _curve(results, corruption, expert, pair)
                if len(points) > 1:
                    name = f"{pair}, {expert}"
                    axes.plot(*np.transpose(points), style, color=colour, label=name, markersize=4)
        axes.set(xlabel=label)
        axes.axhline(0, color="grey", linewidth=0.8)
    panels[0].set_ylabel("gain at the preset, points of R@1")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _curve(results: Records, corruption: str, expert: str, pair: str) -> list[tuple[float, float]]:
    """Return level and gain, with the clean pool of seed 0."""
    clean = results["seed 0, internvl combination" if expert == "internvl" else f"seed 0, {expert}"]
    at = 1.0 if corruption == "fraction" else 0.0
    own = [r for n, r in results.items() if n.startswith(corruption) and n.endswith(f", {expert}")]
    if not own:
        return []
    points = [(r["level"], r["gains"]["preset"][pair]) for r in own]
    return sorted([*points, (at, clean["gains"]["preset"][pair])])


def conflict(results: Records) -> Figure:
    """Draw R@1 of audio items by how much the experts' nearest texts overlap, mean of the seeds."""
    bins = [r["conflict"] for r in results.values() if "conflict" in r]
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    mean = {
        name: np.mean([[b[name] for b in seed] for seed in bins], axis=0) for name in bins[0][0]
    }
    names = {"both": "both, AT-Expertise", "imagebind": "unified space"}
    for name in ("both", "clap_general", "clap_music", "imagebind"):
        axes.plot(100 * mean["overlap"], mean[name], "-o", label=names.get(name, name))
    axes.set(
        xlabel="nearest 10 texts that both experts find, % (quarters of the audio items)",
        ylabel="audio to text, R@1 in %",
        ylim=(0, None),
    )
    axes.legend(fontsize="small")
    return figure


def domain(results: Records) -> Figure:
    """Draw the gain in audio-text by the domain of the pool's audio and of the test."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    pools = {"both, half as many": 2, "general only": 0, "music only": 1}
    for i, tested in enumerate(("general", "music")):
        own = [results[f"domain {n}, clap_general"]["domains"][tested] for n in pools.values()]
        heights = [r["preset"]["audio-text"] for r in own]
        bars = axes.bar(np.arange(3) + 0.4 * i - 0.2, heights, 0.38, label=f"test: {tested}")
        axes.bar_label(bars, fmt="%.1f", fontsize="small")
    axes.set_xticks(range(3), list(pools))
    axes.set(xlabel="audio of the pool", ylabel="gain in audio-text, points of R@1")
    axes.margins(y=0.2)
    axes.legend(fontsize="small", ncols=2, loc="upper center")
    return figure
