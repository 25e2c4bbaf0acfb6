"""``freebind-train`` (``train.py``): from banks to a trained bond or product and its table."""

from __future__ import annotations

import sys

import jax
from rich.markup import escape
from rich.table import Table

from fb_jax.banks import files
from fb_jax.cli.evaluate import ExpertFactors
from fb_jax.console import ConsoleReporter, console, run_command
from fb_jax.evaluation import Metrics, results_table
from fb_jax.run import (
    Job,
    Product,
    RunConfig,
    bond_runs,
    describe,
    introduce,
    make_product,
    outline,
    parse_config,
    prepare,
    read_product,
    report,
    select_device,
    train,
)
from fb_jax.run.describe import NO_TABLE

DRY = "dry run: everything checked, nothing written"


def main() -> None:
    """Run the command."""
    run_command(_train)


def _train() -> None:
    config = parse_config(sys.argv[1:])
    if config.product:
        _product(config)
    else:
        _bond(config)


def _bond(config: RunConfig) -> None:
    reporter = ConsoleReporter()
    print(introduce(config, [config.unified, config.expert]), end="", flush=True)
    job = prepare(config, reporter)
    _show_description(job)
    if config.dry_run:
        print(DRY)
        return
    with jax.default_device(select_device(job.config.device)):
        bond = train(job, reporter)
        results = report(job, bond, reporter)
    _show_results(results, f"{bond.unified} + {bond.expert}")
    print(f"results, pictures and the bond are in {job.config.folder}\n")
    print(_next_commands(job, ExpertFactors.option(bond.shared[-1])) if results else NO_TABLE)


def _product(config: RunConfig) -> None:
    reporter, product = ConsoleReporter(), read_product(str(config.product))
    print(introduce(config, product.natives), end="", flush=True)
    whole = outline(product, config)
    if config.dry_run:
        _show_plan(product, config)
        print(f"\n{product.name}: {whole.dim} dimensions, from {', '.join(whole.spaces)}")
        print(f"{DRY}; what a later stage trains on is checked when it is there")
        return
    with jax.default_device(select_device(config.device)):
        space, results = make_product(product, config, reporter, _announce)
    _show_results(results, product.name)
    folder, size = config.home / product.name, files.gigabytes(2 * space.dim * 10**6)
    print(f"{space.dim} dimensions, a million rows {size} as float16")
    print(f"results, a picture and the fused space are in {folder}\n")
    print(f"use it:   freebind fuse --space {folder}/space --data {config.data} --split SPLIT")
    print(f"or:       FusedSpace.load('{folder}/space').fuse('{space.modalities[0]}', ...)")


def _announce(title: str, job: Job) -> None:
    print(f"\n{title}, in {job.config.folder}", flush=True)
    _show_description(job)


def _show_plan(product: Product, config: RunConfig) -> None:
    """Check and describe the bonds that can be; those of later stages need the rows of a first."""
    for stage in product.stages:
        for run in bond_runs(stage, config.data, config):
            title = f"{run.bond} of {run.expert} and {run.unified}"
            if stage.base is None:
                _announce(title, prepare(run, ConsoleReporter()))
            else:
                print(f"\n{title}: once there are rows of {run.unified}")
        for modality, native in stage.tuned.items():
            print(f"\n{modality} of {stage.name}: {native}, once its encoder is tuned")


def _show_results(results: dict[str, Metrics], title: str) -> None:
    for split, metrics in results.items():
        console.print(results_table(metrics, f"{split}: {title}"))


def _next_commands(job: Job, factor: str) -> str:
    folder, split = job.config.folder, next(iter(job.evaluation))
    return (
        f"other factors:   python eval.py --run {folder} {factor} 0.3\n"
        f"fused banks:     freebind fuse --run {folder} --split {split}"
    )


def _show_description(job: Job) -> None:
    table = Table.grid(padding=(0, 2))
    for label, text in describe(job).items():
        table.add_row(label, escape(text))
    console.print(table)
