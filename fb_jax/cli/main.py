"""``freebind``: one command. Each of its commands is imported only when it runs."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

from fb_jax.errors import unknown
from fb_jax.limits import address_space, require_address_space
from fb_jax.process import run_command


class Command(NamedTuple):
    """A command.

    Attributes:
        home: Module and function. Parameters of the function are the options of the command.
        summary: One line about it.
        example: Arguments of an example.
        parses: The function takes arguments, the name of the command and the example instead, and
            parses by itself.
        computes: It uses JAX, which needs far more address space than NumPy.
    """

    home: str
    summary: str
    example: str
    parses: bool = False
    computes: bool = True


COMMANDS = {
    "train": Command(
        "train:train",
        "Train a bond or make a product, from banks to a table.",
        "--bond combination --expert clap_general",
        parses=True,
    ),
    "eval": Command(
        "evaluate:evaluate_run",
        "Print the table of a run or a product, at any factors.",
        "--run runs/word_world/imagebind-combination-clap_general --sigma-audio 0.3",
    ),
    "diagnose": Command(
        "diagnose:diagnose",
        "Measure spaces without pairs, before or after a bond.",
        "--data data/mine --expert clap_general clap_music",
    ),
    "ablate": Command(
        "ablate:ablate",
        "Make a table of the paper's ablations, or its figures.",
        "table5 --dry-run",
        parses=True,
    ),
    "fuse": Command(
        "fuse:fuse",
        "Write the fused rows of a split as banks.",
        "--run runs/word_world/imagebind-combination-clap_general --split test",
    ),
    "migrate": Command(
        "migrate:migrate",
        "Turn rows of an old embedding model into rows of a new one.",
        "--old clap_general --new clap_music --training.hidden 256 --split test",
    ),
    "search": Command(
        "search:search",
        "Print the nearest items of a bank.",
        "--root data/mine --split test --space imagebind+clap_general --in audio "
        "--like text --row 7",
    ),
    "export-space": Command(
        "export:export_space",
        "Write the fused space of a product, or of runs, as one folder.",
        "--run runs/MUSIC runs/GENERAL --out spaces/imagebind_pp --name imagebind_pp",
    ),
    "convert": Command(
        "convert:convert",
        "Write a fused space for sentence-transformers or as ONNX.",
        "spaces/imagebind_pp --to onnx",
    ),
    "mteb": Command(
        "mteb:judge_space",
        "Judge a fused space by tasks of mteb, or list those that match the paper's.",
        "--space spaces/imagebind_pp --preset versatile --tasks Flickr30kI2TRetrieval",
    ),
    "push": Command(
        "push:push",
        "Upload a fused space to the Hugging Face hub.",
        "spaces/imagebind_pp me/imagebind-pp --licence clap_music CC0-1.0",
    ),
    "bank info": Command("bank:info", "Print what is in a bank root.", "data/mine", computes=False),
    "bank verify": Command(
        "bank:verify", "Read a whole bank root and check it.", "data/mine", computes=False
    ),
    "bank rows": Command(
        "rows:rows",
        "Write some rows of a bank as a file, such as queries of a search.",
        "data/mine --split test --space imagebind --modality text --row 7 12 --out queries.npy",
        computes=False,
    ),
    "bank import": Command(
        "importing:import_",
        "Import embeddings from files of other programs as banks.",
        "emb.npy --root data/mine --split pool --space clap_general --modality text",
        computes=False,
    ),
    "bank pairs": Command(
        "importing:pairs",
        "Import the pairs of two modalities, for evaluation.",
        "table.csv --root data/mine --split test --left audio --right text",
        computes=False,
    ),
    "bank export": Command(
        "bank_export:export",
        "Write banks as files of another program.",
        "--root data/mine --split test --space imagebind+clap --to duckdb --out exported",
    ),
    "bank remove": Command(
        "bank_change:remove",
        "Remove items by their ids.",
        "--root data/mine --split pool --modality text --ids 17 23",
        computes=False,
    ),
    "bank synthetic": Command(
        "bank:synthetic",
        "Write random embeddings to try the commands on.",
        "data/synthetic",
        computes=False,
    ),
    "data": Command(
        "data:data",
        "Make a split of one of the paper's data sets.",
        "esc50 --root ESC-50-master --out data/paper",
        computes=False,
    ),
    "released import": Command(
        "released:import_",
        "Import the checkpoints of FreeBind, C-MCR or Ex-MCR as fused spaces.",
        "THEIRS --out spaces --licence imagebind CC-BY-NC-SA-4.0",
    ),
    "released export": Command(
        "released:export",
        "Export a fused space as checkpoints in the authors' layout.",
        "spaces/internvl_ib_pp --out ours",
    ),
}


def main(*words: str) -> None:
    """Run ``freebind``; ``words`` come before the arguments of the command line."""
    if "" not in sys.path:  # so that my_losses:loss finds my_losses.py in the current folder
        sys.path.append("")
    run_command(lambda: _run([*words, *sys.argv[1:]]))


def _run(args: list[str]) -> None:
    words = next((n for n in (2, 1) if " ".join(args[:n]) in COMMANDS), 0)
    if not words:
        _overview(args)
        return
    name, rest = " ".join(args[:words]), args[words:]
    command = COMMANDS[name]
    require_address_space(address_space(computes=command.computes))
    module, function = command.home.split(":")
    target = getattr(import_module(f"fb_jax.cli.{module}"), function)
    if any(arg.startswith("--data") for arg in rest):  # else light commands need no ``run``
        from fb_jax.run.default import with_bank_roots

        rest = with_bank_roots(rest)
    if command.parses:
        target(rest, f"freebind {name}", command.example)
        return
    from fb_jax.arguments import parse, require_once

    require_once(target, rest)
    parse(target, rest, f"freebind {name}", command.example)


def _overview(args: list[str]) -> None:
    """Print the commands, or those that begin with a word; refuse an unknown one."""
    if args[:1] == ["--version"]:
        print(f"freebind {version('freebind-jax')}")
        return
    word = next((arg for arg in args[:1] if arg not in ("-h", "--help")), "")
    shown = {name: c for name, c in COMMANDS.items() if name.split()[0] == word or not word}
    if not shown or (len(args) > 1 and not args[1].startswith("-")):
        raise unknown("command", " ".join(args[:2]) if shown else word, shown or COMMANDS)
    print(f"usage: freebind {word or 'COMMAND'} ...\n")
    for name, command in shown.items():
        print(f"  {name:<16} {command.summary}")
    print("\noptions of a command: freebind COMMAND --help")
    print("example: freebind train --bond combination --expert clap_general")


if __name__ == "__main__":
    main()
