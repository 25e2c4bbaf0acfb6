"""Evaluation of a world's bonds: ``metrics.json``, with Table 7's rows and each prompt by itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from examples.class_world.corpus import LABELLED
from examples.word_world.results import PACKAGES, SPACES
from fb_jax import files
from fb_jax.banks import BankSet, open_banks
from fb_jax.evaluation.classes import CLASS, TEXT, class_rows
from fb_jax.evaluation.models import Space, compare, evaluate, fused_rows, pair_tables
from fb_jax.fusion import FusedSpace
from fb_jax.run import Run

BONDS = ("imagebind-combination-clap_general", "imagebind-combination-clap_music")
SPLITS = ("val", "test", *LABELLED)
BY_PROMPT = ("imagebind", "clap_general", "imagebind_pp")


def write_results(folder: Path, seed: int) -> None:
    """Evaluate every bond and product of a world; factors were chosen on ``val`` alone.

    Args:
        folder: Folder of a world, as ``build`` leaves it.
        seed: The world's seed.
    """
    runs, root = folder / "runs", folder / "banks"
    spaces = {name: Run(runs / name).space for name in BONDS}
    for name in ("imagebind_pp", "internvl_ib"):
        spaces[name] = FusedSpace.load(runs / name / "space")
    sets = {split: open_banks(root, split, spaces=SPACES) for split in SPLITS}
    files.write_json(
        folder / "metrics.json",
        {
            "seed": seed,
            "versions": {name: version(name) for name in PACKAGES},
            "spaces": files.read_json(folder / "scores.json"),
        },
    )
