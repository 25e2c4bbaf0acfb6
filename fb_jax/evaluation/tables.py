"""Tables of results, for terminals."""

from __future__ import annotations

from rich.table import Table

from fb_jax.evaluation.models import Metrics
from fb_jax.evaluation.retrieval import KS

CAPTION = (
    "R@1/R@5/R@10 in %, mean of both directions. unified, and each expert by its name: a space "
    "alone (blank where it lacks a modality). mean_of_scores: the similarities "
    "of the spaces that have both modalities averaged, no bond."
)


def results_table(metrics: Metrics, title: str) -> Table:
    """Return one table: a row a model, R@1/R@5/R@10 for every pair of modalities.

    Args:
        metrics: Of one split.
        title: Above the table.
    """
    pairs = sorted({pair for model in metrics.values() for pair in model})
    table = Table(title=title, caption=CAPTION)
    table.add_column("model")
    for pair in pairs:
        table.add_column(pair, justify="right", no_wrap=True)
    for model, by_pair in metrics.items():
        cells = [_cell(by_pair[pair]) if pair in by_pair else "" for pair in pairs]
        table.add_row(model, *cells)
    return table


def _cell(values: dict[str, float]) -> str:
    return "/".join(f"{values[f'R@{k}']:.1f}" for k in KS)
