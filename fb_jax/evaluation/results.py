"""Results of an evaluation, as an object that prints as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fb_jax.evaluation.metrics import LEADING, RECALLS
from fb_jax.fusion.card import HUBS

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
        """Return a sentence for every model that is worse than a source in some pair.

        A hub-corrected model is also compared with the hub-corrected sources. What counts is R@1,
        or for classes top-1 or mAP.
        """
        lines, before = [], (*self.sources, MEAN_OF_SCORES)
        for model in (name for name in self if name.removesuffix(HUBS) not in before):
            worse = [
                f"{pair} {own:.1f} against {best:.1f} of {source}"
                for pair, own, best, source in self._beaten(model)
            ]
            if worse:
                where = self.title or "here"
                lines.append(f"{where}: {model} is worse than a space alone: {', '.join(worse)}")
        return lines

    def _beaten(self, model: str) -> Iterator[tuple[str, float, float, str]]:
        """Yield the pairs in which a source is better, and the best one."""
        also = [f"{name}{HUBS}" for name in self.sources] if model.endswith(HUBS) else []
        sources = [*self.sources, *(name for name in also if name in self)]
        for pair, figures in self[model].items():
            lead = next((name for name in LEADING if name in figures), "")
            known = {s: self[s].get(pair, {}).get(lead, -1.0) for s in sources}
            source = max(known, key=known.__getitem__, default="")
            if lead and source and known[source] > figures[lead]:
                yield pair, figures[lead], known[source], source

    def gain(self, model: str) -> str | None:
        """Return a sentence on how far a model is above the mean of scores.

        The metrics are those of ``verdicts``. A hub-corrected model is compared with the
        hub-corrected mean. None if there is nothing to compare.
        """
        mean = MEAN_OF_SCORES + HUBS * model.endswith(HUBS)
        if not {model, mean} <= self.keys():
            return None
        pairs = sorted(self[model].keys() & self[mean].keys())
        both = [(pair, self[model][pair], self[mean][pair]) for pair in pairs]
        gains = ", ".join(
            f"{pair} {own[lead] - other[lead]:+.1f}"
            for pair, own, other in both
            for lead in LEADING
            if lead in own and lead in other
        )
        where = self.title or "here"
        return f"{where}: the space is {model}; points above {mean}: {gains}" if gains else None

    def table(self) -> Table:
        """Return a table of at most 80 columns: a row for each model."""
        pairs = sorted({pair for by_pair in self.values() for pair in by_pair})
        same = any(self._names(pair) == self.metrics for pair in pairs)
        shown = self.title + f" ({' / '.join(self.metrics)})" * same
        table = Table(title=shown.strip() or None, title_justify="left")
        table.add_column("model", overflow="fold")
        for pair in pairs:
            names = self._names(pair)
            own = "" if names == self.metrics else "\n" + "/".join(names)
            table.add_column(pair + own, justify="right", no_wrap=True)
        for model, by_pair in self.items():
            cells = ((by_pair.get(pair, {}), self._names(pair)) for pair in pairs)
            table.add_row(
                model, *("/".join(f"{own[m]:.1f}" for m in names if own) for own, names in cells)
            )
        return table

    def _names(self, pair: str) -> tuple[str, ...]:
        """Return the metrics that the table shows of a pair: for classes, all that they have."""
        figures = next(by_pair[pair] for by_pair in self.values() if pair in by_pair)
        return self.metrics if set(self.metrics) <= set(figures) else tuple(figures)

    def __str__(self) -> str:
        console = Console(width=COLUMNS, no_color=True, force_terminal=False)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def __repr__(self) -> str:
        return f"Results({self.title!r}, {', '.join(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Results, (self.figures, self.title, self.metrics, self.sources)
