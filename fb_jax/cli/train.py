"""``freebind train``: from banks to a trained bond or product, and its table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from fb_jax import files
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.tables import show_results
from fb_jax.console import ConsoleReporter, console
from fb_jax.run import (
    Job,
    Product,
    RunConfig,
    bond_runs,
    computing_on,
    describe,
    introduce,
    make_product,
    parse_config,
    plan_product,
    prepare,
    product_of,
    report,
)
from fb_jax.run import train as train_run
from fb_jax.run.default import shipped
from fb_jax.run.describe import NO_TABLE

HUBS = "hub correction:  the same command with --hubs chosen; it trains nothing again"
DRY = "dry run: everything checked, nothing written"


def train(args: Sequence[str], prog: str, example: str = "") -> None:
    """Train a bond or make a product; see ``parse_config`` for the arguments."""
    config = parse_config(args, prog, example)
    with computing_on(config.device):
        (_product if config.product else _bond)(config)


def _bond(config: RunConfig) -> None:
    reporter = ConsoleReporter()
    job = prepare(config, reporter)
    print(introduce(config, job.config.spaces), end="", flush=True)
    _show_description(job)
    if config.dry_run:
        print(DRY)
        return
    with files.locked(job.config.folder):
        bond = train_run(job, reporter)
        made = report(job, bond, reporter)
    show_results(made.results, f"{bond.unified} + {bond.expert}", made.chosen, made.kept)
    print(f"results, pictures and the bond are in {job.config.folder}\n")
    print(_next_commands(job) if made.results else NO_TABLE)
    if made.chosen and config.hubs is None:
        print(HUBS)


def _product(config: RunConfig) -> None:
    reporter, product = ConsoleReporter(), product_of(config)
    planned = plan_product(product, config)
    print(introduce(config, product.natives), end="", flush=True)
    if config.dry_run:
        _show_plan(product, config)
        print(f"\n{product.name}: {planned.dim} dimensions, from {', '.join(planned.spaces)}")
        print(f"{DRY}; data of later stages are checked when they exist")
        return
    made = make_product(product, config, reporter, _announce)
    show_results(made.results, product.name, made.chosen, made.kept)
    space = made.space
    folder, size = config.home / product.name, files.gigabytes(2 * space.role_dim * 10**6)
    more = space.role_dim - space.dim
    columns = f" and {more} columns of the hub correction" if more else ""
    print(f"{space.dim} dimensions{columns}, a million rows {size} as float16")
    print(f"results, a picture and the fused space are in {folder}\n")
    print(f"use it:     freebind fuse --run {folder} --split SPLIT")
    print(f"or:         FusedSpace.load('{folder}/space').fuse('{space.modalities[0]}', ...)")
    print(f"deploy it:  freebind convert {folder}/space --to onnx")


def _announce(title: str, job: Job) -> None:
    print(f"\n{title}, in {job.config.folder}", flush=True)
    _show_description(job)


def _show_plan(product: Product, config: RunConfig) -> None:
    """Check and describe the bonds that can be; later stages need rows of earlier ones."""
    for stage in product.stages:
        for run in bond_runs(stage, config.data, config):
            if stage.base is None:
                _announce(run.title, prepare(run, ConsoleReporter()))
            else:
                print(f"\n{run.title}: when there are rows of {run.unified}")
        for modality, native in stage.tuned.items():
            print(f"\n{modality} of {stage.name}: rows of {native}, when its encoder is tuned")


def _next_commands(job: Job) -> str:
    data, folder, split = job.config.data, job.config.folder, next(iter(job.evaluation))
    symbol = "lambda" if job.bond.kind == "displacement" else "sigma"
    factor = ExpertFactors.option(job.bond.weighted[-1], symbol)
    return (
        f"other factors:   freebind eval --run {folder} {factor} 0.3\n"
        f"fused banks:     freebind fuse --run {folder} --split {split}\n"
        f"all your spaces: freebind train --product one --data {shipped(data) or data}"
    )


def _show_description(job: Job) -> None:
    table = Table.grid(padding=(0, 2))
    for label, text in describe(job).items():
        table.add_row(label, escape(text))
    console.print(table)
