"""``freebind mteb``: an outside judge of a fused space and its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import open_banks
from fb_jax.cli.device import on_device
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.source import space_in
from fb_jax.cli.typed import load_encoders
from fb_jax.console import ConsoleReporter, console
from fb_jax.errors import FreeBindError, require_range
from fb_jax.fusion import Embedder, FusedSpace
from fb_jax.fusion.factors import as_text
from fb_jax.interop.mteb import MtebModel, fused_model, native_model
from fb_jax.interop.mteb_banks import bank_model, bank_tasks
from fb_jax.interop.mteb_judge import (
    TABLE_1,
    beside_paper,
    can_judge,
    find_tasks,
    judge,
    require_modalities,
)
from fb_jax.run import Device

Models = Mapping[str, MtebModel]
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Task to model to metric to score in percent."""


@dataclass(frozen=True)
class Encoders:
    """Encoders of the native spaces, for --tasks."""

    encoder: Annotated[tuple[str, ...], arg(metavar="SPACE=ENCODER ...")] = ()
    """Encoders, as for freebind search; by default those that the space records, or those of this
    package."""

    weights: Annotated[tuple[str, ...], arg(metavar="SPACE=PATH ...")] = ()
    """Files or folders of the encoders' weights."""

    trust_remote_code: bool = False
    """Run the code in a model's folder, as internvl needs. Read it first."""

    batch: int = 32
    """Number of items to read and encode at a time."""


@on_device
def judge_space(
    factors: OmitArgPrefixes[ExpertFactors],
    encoders: OmitArgPrefixes[Encoders],
    space: Path | None = None,
    tasks: Annotated[tuple[str, ...], arg(metavar="TASK ...")] = (),
    data: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None,
    split: str = "test",
    preset: str | None = None,
    sources: bool = False,
    out: Path = Path("mteb"),
    device: Device = "auto",
) -> None:
    """Judge a fused space by tasks of mteb, which downloads their data.

    Without arguments, list the tasks that match Table 1 of the paper. With --data, the tasks are
    the pairs of a split of a bank root, and the models look up its rows; nothing is downloaded.

    Args:
        factors: Weights of the experts, beside those of the preset.
        encoders: Encoders of the native spaces.
        space: Folder of a run, a product or a fused space.
        tasks: Names of mteb's tasks; all is those that match Table 1.
        data: Bank root to judge on instead.
        split: Split of the bank root.
        preset: Preset of factors; by default the space's own.
        sources: Also judge every native space, by itself.
        out: Folder of mteb's results, as JSON. Tasks that are there are not run again.
        device: Device to compute on.
    """
    asked = bool(tasks) + (data is not None)
    if space is None and not asked:
        _list_matches()
        return
    require_range("mteb", 1, 1 << 20, batch=encoders.batch)
    fused, label = _labelled(factors.at(space_in(_asked_of(space, asked)), preset))
    if data is not None:
        models, judged = _on_banks(fused, label, data, split, sources)
    else:
        judged = find_tasks(tasks)
        models = _with_encoders(fused, label, encoders, sources)
    for task in judged:
        require_modalities(models[label], task)
    figures = {t.metadata.name: _judged(models, t, out, encoders.batch) for t in judged}
    _show(figures, list(models))
    print(f"results of mteb: {out}")


def _asked_of(space: Path | None, asked: int) -> Path:
    """Return the space's folder; raise a FreeBindError unless there are one and a kind of tasks."""
    if space is None:
        raise FreeBindError("there is nothing to judge", expected="--space FOLDER")
    if asked != 1:
        raise FreeBindError("there is nothing to judge on", expected="either --tasks or --data")
    return space


def _labelled(space: FusedSpace) -> tuple[FusedSpace, str]:
    """Return a space and its label."""
    fitting = [name for name, at in space.presets.items() if dict(at) == dict(space.factors)]
    return space, f"{space.title}, {next(iter(fitting), as_text(space.factors))}"


def _with_encoders(
    space: FusedSpace, label: str, encoders: Encoders, sources: bool
) -> dict[str, MtebModel]:
    loaded = load_encoders(space, encoders.encoder, encoders.weights, encoders.trust_remote_code)
    embedder, names = Embedder(space, loaded, batch=encoders.batch), space.spaces * sources
    return {label: fused_model(embedder), **{n: native_model(embedder, n) for n in names}}


def _on_banks(
    space: FusedSpace, label: str, data: Path, split: str, sources: bool
) -> tuple[dict[str, MtebModel], list[Any]]:
    banks = open_banks(data, split, spaces=space.spaces)
    banks.verify()
    natives = {name: bank_model(name, banks) for name in space.spaces * sources}
    models = {label: bank_model(space, banks), **natives}
    return models, bank_tasks(banks, f"{data.absolute().name}-{split}-")


def _judged(models: Models, task: Any, out: Path, batch: int) -> dict[str, dict[str, float]]:
    figures = {}
    for name, model in models.items():
        if can_judge(model, task):
            with ConsoleReporter().task(f"{task.metadata.name}: {name}", 0) as advance:
                figures[name] = judge(model, task, out, batch, advance)
    return figures


def _show(figures: Figures, names: Sequence[str]) -> None:
    """Print the figures, and the paper's under those of data sets that mteb has, too."""
    table = Table()
    table.add_column("task of mteb", no_wrap=True)  # a name that is cut is no name
    for name in names:
        table.add_column(name, overflow="fold")
    for task, by_model in figures.items():
        table.add_row(task, *(_cell(by_model.get(name)) for name in names))
    own = {name: {t: by[name] for t, by in figures.items() if name in by} for name in names}
    for match in TABLE_1:
        cells = [beside_paper(own[name], name, match) or "" for name in names]
        if any(cells):
            table.add_row(f"{match.split} (paper)", *cells)
    console.print(table)
    print("R@1/R@5 and nDCG@10, or the task's own score, in percent")
    print("the paper's R@1/R@5 are means of both directions")


def _cell(scores: Mapping[str, float] | None) -> str:
    if not scores:
        return ""
    if "R@1" in scores:
        return f"{scores['R@1']:.2f}/{scores['R@5']:.2f}, {scores['nDCG@10']:.2f}"
    return ", ".join(f"{name} {score:.2f}" for name, score in scores.items())


def _list_matches() -> None:
    table = Table("data set", "tasks of mteb", "their data")
    for match in TABLE_1:
        table.add_row(match.split, "\n".join(match.tasks), match.here)
    console.print(table)
