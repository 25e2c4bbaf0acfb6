"""docs/word_world.md and the README's short table, written from the ``metrics.json`` of all seeds.

python -m examples.word_world.report
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import tyro

from examples.word_world import tables
from examples.word_world.claims import (
    CLAIMS,
    GOALS,
    PRODUCT_CLAIMS,
    TUNED_CLAIMS,
    UNTESTABLE,
    Result,
)
from examples.word_world.results import SUM
from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Sweep, plot_sweep
from fb_jax.fusion import PRESETS
from fb_jax.process import run_command

HERE = Path(__file__).parent
TEMPLATE = HERE / "report.md"
START = "<!-- word world: written by python -m examples.word_world.report -->"
END = "<!-- /word world -->"


@dataclass(frozen=True)
class ReportConfig:
    """Write the report on the word world."""

    results: Path = HERE / "results"
    """Folder with a seed-N.json for each seed: a copy of its metrics.json."""

    worlds: Path | None = None
    """Folder with built worlds; their metrics are copied into the results first."""

    out: Path = Path("docs")
    """Folder for word_world.md and its picture."""

    readme: Path | None = Path("README.md")
    """File whose table of the word world is written again."""


def main() -> None:
    """Run the command."""
    run_command(lambda: write_report(tyro.cli(ReportConfig)))


def write_report(config: ReportConfig) -> None:
    """Write ``word_world.md``, ``word_world_sweep.png`` and the README's table.

    Raises:
        FreeBindError: There are no results, or the README has lost the marks around its table.
    """
    for path in sorted(config.worlds.glob("seed-*/metrics.json")) if config.worlds else []:
        files.write_json(config.results / f"{path.parent.name}.json", files.read_json(path))
    results = [files.read_json(path) for path in sorted(config.results.glob("seed-*.json"))]
    if not results:
        raise FreeBindError(
            "there are no results", where=config.results, fix="python -m examples.word_world"
        )
    text = Template(TEMPLATE.read_text()).substitute(sections(results)).encode()
    files.write_atomic(config.out / "word_world.md", lambda file: file.write(text))
    presets = {name: PRESETS[name] for name in ("versatile", "at_expertise")}
    title = f"imagebind_pp on validation, mean of {len(results)} seeds"
    plot_sweep(mean_sweep(results), presets, title, config.out / "word_world_sweep.png")
    if config.readme is not None:
        renew_readme(config.readme, results)


def sections(results: Sequence[Result]) -> dict[str, str]:
    """Return the text for every placeholder of the template."""
    markdown, claims_table = tables.markdown, tables.claims_table
    return {
        "seeds": ", ".join(str(result["seed"]) for result in results),
        "versions": ", ".join(f"{name} {v}" for name, v in results[0]["versions"].items()),
        "spaces": markdown(tables.spaces_table(results)),
        "domains": markdown(tables.domains_table(results)),
        "models": markdown(tables.models_table(results)),
        "chosen": tables.chosen_factors(results, "imagebind_pp"),
        "weight": tables.chosen_factors(results, SUM),
        "direct_sum": markdown(tables.validation_table(results, "direct_sum")),
        "claims": markdown(claims_table(results, CLAIMS)),
        "product_claims": markdown(claims_table(results, PRODUCT_CLAIMS)),
        "tuned_claims": markdown(claims_table(results, TUNED_CLAIMS)),
        "regained": markdown(tables.regained_table(results)),
        "tuning": markdown(tables.validation_table(results, "tuning")),
        "goals": markdown(claims_table(results, GOALS)),
        "members": "\n\n".join(map(markdown, tables.members_tables(results))),
        "open_points": markdown(tables.open_points_table(results)),
        "untestable": "\n".join(f"- {line}" for line in UNTESTABLE),
    }


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


def renew_readme(path: Path, results: Sequence[Result]) -> None:
    """Write the short table between the README's two marks; the rest keeps its bytes."""
    start, end = START.encode(), END.encode()
    text = path.read_bytes()
    if not text.count(start) == text.count(end) == 1:
        raise FreeBindError(
            "the marks around the table are missing", where=path, expected=f"{START} ... {END}"
        )
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    caption = (
        f"Means over {len(results)} seeds. Words, voices, encoders and bonds differ between seeds. "
        "± is half of the\n95 % interval over the seeds."
    )
    table = f"\n\n{tables.markdown(tables.short_table(results))}\n\n{caption}\n\n"
    renewed = before + start + table.encode() + end + after
    files.write_atomic(path, lambda file: file.write(renewed))


if __name__ == "__main__":
    main()
