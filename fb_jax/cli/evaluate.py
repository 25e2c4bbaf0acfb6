"""``freebind eval``: the table of a run or a product, at its presets or any other factors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from fb_jax import files
from fb_jax.cli.device import on_device
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.source import source_of
from fb_jax.cli.tables import show_results
from fb_jax.cli.tasks import TaskOptions, show_tasks
from fb_jax.evaluation import RECALLS, evaluate
from fb_jax.evaluation.models import model_rows
from fb_jax.evaluation.tables.origin import origin
from fb_jax.fusion.card import own_row
from fb_jax.fusion.factors import as_text
from fb_jax.run import Device, points_for
from fb_jax.run.choosing import as_chosen


@on_device
def evaluate_run(
    factors: OmitArgPrefixes[ExpertFactors],
    table: OmitArgPrefixes[TaskOptions],
    run: Path | None = None,
    space: Path | None = None,
    split: str | None = None,
    data: Annotated[Path | None, arg(metavar="BANK_ROOT")] = None,
    metrics: tuple[str, ...] | None = None,
    json: Path | None = None,
    device: Device = "auto",
) -> None:
    """Print the table of a run or a product again, or at other factors.

    Args:
        factors: Weights of the expert, 0 to 1: sigma after a combination, lambda after a
            displacement in the paper.
        table: Tasks, and tables of them.
        run: Folder of a run or a product, or a folder with exactly one of them.
        space: Folder of a fused space; needs --data.
        split: Evaluation split; by default all that the run recorded or the data have.
        data: Bank root; by default the one that the run was trained on.
        metrics: Metrics of retrieval: R@1, R@5, R@10, "median rank", MRR, mAP@10, or your own as
            module:function. By default R@1, R@5 and R@10; with --tasks the paper's two.
        json: Also write the figures to this file.
        device: Device to compute on.
    """
    table.require_fitting(split, json)
    if json is not None:
        files.require_file_to_write(json)
    source = source_of(run, space, data, table.product)
    points = points_for(source.space)
    if chosen := factors.chosen():
        at = {**source.space.factors, **chosen}
        points |= {as_text(at): at}
    if table.tasks:
        show_tasks(source, points, table, metrics)
        return
    names = source.splits() if split is None else [split]
    if not names:
        print("no split with pairs is known: name one with --split, and --data")
    sets = as_chosen({name: source.open(name) for name in names}, source.validation)
    beside, memory = source.corrected_sources(), table.memory
    measure = partial(
        evaluate, points=points, metrics=metrics or RECALLS, memory=memory, beside=beside
    )
    results = {name: measure(source.space, banks) for name, banks in sets.items()}
    show_results(results, source.space.title, source.chosen, own_row(source.space, points))
    if json is not None:
        figures = {name: result.to_dict() for name, result in results.items()}
        about = origin(sets, {**model_rows(source.space, points), **beside})
        files.write_json(json, {"retrieval": figures, "about": about})
