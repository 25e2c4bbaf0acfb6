"""How much the words around a class's name matter: each template by itself, and all averaged.

python -m examples.class_world.prompts

prints the tables of docs/class_world.md. They need the products that
``freebind train --product imagebind_pp --data class_world`` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from examples.class_world.corpus import LABELLED
from examples.word_world.tables import Table, markdown
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation import Bootstrap, Cell
from fb_jax.evaluation.classes import CLASS, TEXT, class_rows, labelled
from fb_jax.evaluation.retrieval import class_samples
from fb_jax.evaluation.spaces import Row, Space, models_of
from fb_jax.evaluation.tasks import class_metrics
from fb_jax.fusion import FusedSpace
from fb_jax.process import run_command
from fb_jax.run import default

AVERAGED = "all averaged"
NATIVE = ("imagebind", "clap_general", "internvl")
"""Spaces in the tables, beside the product: those with the modality of a split."""


class Prompted(NamedTuple):
    """A figure with some prompts, and what averaging all prompts adds to it, in points."""

    figure: Cell
    averaging: Cell


def by_template(
    rows: Mapping[str, Row], banks: BankSet, templates: list[str]
) -> dict[str, dict[str, Prompted]]:
    """Return how well models classify with one template, and with the mean of all.

    Args:
        rows: Name to what is compared; see ``tabulate``.
        banks: A split with labels.
        templates: Its templates, in the order of its prompts.

    Returns:
        Row to template to the first metric of the split, top-1 or mAP in percent. Models without
        the modality of the items are left out.
    """
    (modality,) = labelled(banks)
    models = models_of(rows, banks).items()
    found = {row: _of_model(m, modality, banks, templates) for row, m in models if modality in m}
    return {row: found[row] for row in rows if row in found}


def _of_model(
    model: Space, modality: str, banks: BankSet, templates: list[str]
) -> dict[str, Prompted]:
    labels, prompts = banks.pairs(modality, CLASS), banks.pairs(CLASS, TEXT)
    items, text, metric = model[modality], model[TEXT], class_metrics(labels)[0]
    number = prompts[:, 1] % len(templates)
    parts = {name: prompts[number == k] for k, name in enumerate(templates)} | {AVERAGED: prompts}
    samples = {
        name: class_samples(items, class_rows(text, part), labels, [metric], Bootstrap())[metric]
        for name, part in parts.items()
    }
    mean: np.ndarray = samples[AVERAGED]
    return {name: Prompted(Cell.of(own), Cell.of(mean - own)) for name, own in samples.items()}


def tables(data: Path, space: FusedSpace) -> list[Table]:
    """Return a table for every split with labels: a line for each template.

    Args:
        data: Bank root of a class world.
        space: A product of its spaces.
    """
    rows: dict[str, Row] = {**{name: name for name in NATIVE}, "both": space}
    found = []
    for split in LABELLED:
        banks = open_banks(data, split, spaces=(*space.spaces, "internvl"))
        templates = files.read_json(data / split / "dataset.json")["templates"]
        found.append(_table(split, by_template(rows, banks, templates)))
    return found


def _table(split: str, by_row: Mapping[str, Mapping[str, Prompted]]) -> Table:
    names = next(iter(by_row.values()))
    return [
        [split, *by_row],
        *([f"`{n}`", *(_text(own[n]) for own in by_row.values())] for n in names),
    ]


def _text(prompted: Prompted) -> str:
    averaging = prompted.averaging
    gain = f"{averaging.value:+.1f} [{averaging.low:+.1f}, {averaging.high:+.1f}]"
    return f"{prompted.figure.value:.1f} ({gain})"


def main(run: Path = Path("runs/class_world/imagebind_pp")) -> None:
    """Print how each template classifies, and in round brackets what averaging all adds to it.

    Args:
        run: Run of the product with both CLAPs.
    """
    space = FusedSpace.load(run / "space").at("versatile")
    print(*map(markdown, tables(default.home("class_world") / "banks", space)), sep="\n\n")


if __name__ == "__main__":
    run_command(lambda: tyro.cli(main))
