"""``freebind-train`` (``train.py``): from banks to a trained bond and its table of results."""

from __future__ import annotations

import sys

import jax
from rich.markup import escape
from rich.table import Table

from fb_jax.cli.evaluate import ExpertFactors
from fb_jax.console import ConsoleReporter, console, run_command
from fb_jax.evaluation import results_table
from fb_jax.run import (
    Job,
    describe,
    introduce,
    parse_config,
    prepare,
    report,
    select_device,
    train,
)
from fb_jax.run.describe import NO_TABLE


def main() -> None:
    """Run the command."""
    run_command(_train)


def _train() -> None:
    config, reporter = parse_config(sys.argv[1:]), ConsoleReporter()
    print(introduce(config), end="", flush=True)
    job = prepare(config, reporter)
    _show_description(job)
    if config.dry_run:
        print("dry run: everything checked, nothing written")
        return
    with jax.default_device(select_device(job.config.device)):
        bond = train(job, reporter)
        results = report(job, bond, reporter)
    for split, metrics in results.items():
        console.print(results_table(metrics, f"{split}: {bond.unified} + {bond.expert}"))
    print(f"results, pictures and the bond are in {job.config.folder}\n")
    print(_next_commands(job, ExpertFactors.option(bond.shared[-1])) if results else NO_TABLE)


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
