"""The tables of docs/word_world.md, printed from the ``metrics.json`` of all seeds.

python -m examples.word_world.report
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from examples.word_world import tables
from examples.word_world.claims import CLAIMS, GOALS, PRODUCT_CLAIMS, TUNED_CLAIMS
from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.process import run_command

HERE = Path(__file__).parent


@dataclass(frozen=True)
class ReportConfig:
    """Print the tables of the word world."""

    results: Path = HERE / "results"
    """Folder with a seed-N.json for each seed: a copy of its metrics.json."""

    worlds: Path | None = None
    """Folder with built worlds; their metrics are copied into the results first."""


def main() -> None:
    """Run the command."""
    run_command(lambda: print(report(tyro.cli(ReportConfig))))


def report(config: ReportConfig) -> str:
    """Return all tables in Markdown, and the factors that were chosen.

    Raises:
        FreeBindError: There are no results.
    """
    for path in sorted(config.worlds.glob("seed-*/metrics.json")) if config.worlds else []:
        files.write_json(config.results / f"{path.parent.name}.json", files.read_json(path))
    results = [files.read_json(path) for path in sorted(config.results.glob("seed-*.json"))]
    if not results:
        raise FreeBindError(
            "there are no results", where=config.results, fix="python -m examples.word_world"
        )
    claims = (CLAIMS, PRODUCT_CLAIMS, TUNED_CLAIMS, GOALS)
    shown = [
        tables.spaces_table(results),
        tables.domains_table(results),
        tables.models_table(results),
        *(tables.claims_table(results, some) for some in claims),
    ]
    chosen = [tables.chosen_factors(results, product) for product in results[0]["chosen"]]
    return "\n\n".join([*map(tables.markdown, shown), *chosen])


if __name__ == "__main__":
    main()
