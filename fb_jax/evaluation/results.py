"""Results of an evaluation, as an object that prints as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fb_jax.evaluation.metrics import RECALLS

COLUMNS = 80
CAPTION = (
    "Means of both directions, R@k in %. unified, and each expert by its name: a space\n"
    "alone (blank where it lacks a modality). mean_of_scores: no bond, the mean of the\n"
    "scores of all spaces that have both modalities."
)

MEAN_OF_SCORES = "mean_of_scores"

Figures = dict[str, dict[str, dict[str, float]]]
"""Model to pair of modalities (``audio-text``) to metric to value."""


@dataclass(frozen=True, eq=False, repr=False)
class Results(Mapping[str, dict[str, dict[str, float]]]):
    """The figures of one split: ``results["versatile"]["audio-text"]["R@1"]``.

    Attributes:
        figures: Model to pair of modalities to metric to value.
        title: Name of the split or space, shown above the table.
        metrics: Metrics that the table shows.
        sources: Models that the user had before: the spaces that were fused.
    """

    figures: Figures
    title: str = ""
    metrics: tuple[str, ...] = RECALLS
    sources: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(tuple(self.figures))

    def __getitem__(self, model: str) -> dict[str, dict[str, float]]:
        return self.figures[model]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def to_dict(self) -> Figures:
        """Return the figures as plain dictionaries."""
        return self.figures

    def verdicts(self) -> list[str]:
        """Return a sentence for every model that has a lower R@1 than a source in some pair."""
        lines = []
        for model in (name for name in self if name not in (*self.sources, MEAN_OF_SCORES)):
            worse = [
                f"{pair} {own:.1f} against {best:.1f} of {source}"
                for pair, own, best, source in self._beaten(model)
            ]
            if worse:
                where = self.title or "here"
                lines.append(f"{where}: {model} is worse than a space alone: {', '.join(worse)}")
        return lines

    def _beaten(self, model: str) -> Iterator[tuple[str, float, float, str]]:
        """Yield the pairs in which a source has a higher R@1, and the best one."""
        for pair, figures in self[model].items():
            known = {s: self[s].get(pair, {}).get("R@1", -1.0) for s in self.sources}
            source = max(known, key=known.__getitem__, default="")
            if source and known[source] > figures.get("R@1", 100.0):
                yield pair, figures["R@1"], known[source], source

    def table(self) -> Table:
        """Return a table of at most 80 columns: a row for each model."""
        pairs = sorted({pair for by_pair in self.values() for pair in by_pair})
        shown = self.title + " (" + " / ".join(self.metrics) + ")"
        table = Table(title=shown.strip(), title_justify="left")
        table.add_column("model", overflow="fold")
        for pair in pairs:
            table.add_column(pair, justify="right", no_wrap=True)
        for model, by_pair in self.items():
            table.add_row(model, *(self._cell(by_pair.get(pair)) for pair in pairs))
        return table

    def _cell(self, figures: Mapping[str, float] | None) -> str:
        if not figures:
            return ""
        names = self.metrics if self.metrics[0] in figures else tuple(figures)
        return "/".join(f"{figures[name]:.1f}" for name in names)

    def __str__(self) -> str:
        console = Console(width=COLUMNS, no_color=True, force_terminal=False)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def __repr__(self) -> str:
        return f"Results({self.title!r}, {', '.join(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Results, (self.figures, self.title, self.metrics, self.sources)
