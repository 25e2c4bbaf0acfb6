"""``freebind-train`` (``train.py``): from banks to a trained bond and its table of results."""

from __future__ import annotations

import sys

from rich.table import Table

from fb_jax.cli.console import ConsoleReporter, console, run_command
from fb_jax.evaluation import results_table
from fb_jax.run import Job, describe, parse_config, prepare, report, train


def main() -> None:
    """Run the command."""
    run_command(_train)


def _train() -> None:
    config, reporter = parse_config(sys.argv[1:]), ConsoleReporter()
    job = prepare(config, reporter)
    _show_description(job)
    if config.dry_run:
        print("dry run: everything checked, nothing written")
        return
    bond = train(job, reporter)
    folder = job.config.folder
    if not job.evaluation:
        print(f"trained: {folder}. No split has pairs, so no table is possible.")
        return
    for split, metrics in report(job, bond, reporter).items():
        console.print(results_table(metrics, f"{split}: {bond.unified} + {bond.expert}"))
    print(f"results, pictures and the bond are in {folder}\n")
    print(f"other factors:   python eval.py --run {folder} --sigma-audio 0.3")
    print(f"fused banks:     freebind fuse --run {folder} --split test")


def _show_description(job: Job) -> None:
    table = Table.grid(padding=(0, 2))
    for label, text in describe(job).items():
        table.add_row(label, text)
    console.print(table)
