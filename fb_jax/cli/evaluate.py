"""``freebind-eval`` (``eval.py``): the table of a run, at its presets or any other factors."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from fb_jax.banks import files
from fb_jax.cli.source import source_of
from fb_jax.console import console, run_command
from fb_jax.evaluation import evaluate, results_table
from fb_jax.fusion import Factors
from fb_jax.run import points_for


@dataclass(frozen=True)
class ExpertFactors:
    """Weights of the expert, 0 to 1 (sigma of a combination, lambda of a displacement)."""

    audio: Annotated[float | None, arg(name="sigma-audio", aliases=["--lambda-audio"])] = None
    """Weight of the expert for audio; None takes the preset's."""

    image: Annotated[float | None, arg(name="sigma-image", aliases=["--lambda-image"])] = None
    """Weight of the expert for images; None takes the preset's."""

    text: Annotated[float | None, arg(name="sigma-text", aliases=["--lambda-text"])] = None
    """Weight of the expert for text; None takes the preset's."""

    others: Annotated[
        dict[str, float], arg(name="sigma", aliases=["--lambda"], metavar="MODALITY FACTOR ...")
    ] = field(default_factory=dict)
    """Weights of the expert for any modalities, such as --sigma depth 0.3 video 0.2."""

    def given(self) -> Factors:
        """Return the factors that were set."""
        named = {"audio": self.audio, "image": self.image, "text": self.text}
        return self.others | {m: factor for m, factor in named.items() if factor is not None}

    @classmethod
    def option(cls, modality: str) -> str:
        """Return the option that sets the factor of a modality."""
        named = {known.name for known in fields(cls)} - {"others"}
        return f"--sigma-{modality}" if modality in named else f"--sigma {modality}"


@dataclass(frozen=True)
class EvalConfig:
    """Reproduce the table of a run or a product from its folder and banks, or try other factors."""

    factors: tyro.conf.OmitArgPrefixes[ExpertFactors]

    run: Path | None = None
    """Run folder that train.py wrote; or --space."""

    space: Path | None = None
    """Fused space, such as runs/PRODUCT/space; needs --data."""

    split: str | None = None
    """Evaluation split; by default all that the run recorded, or that the data have."""

    data: Path | None = None
    """Bank root; by default the one that the run was trained on."""

    json: Path | None = None
    """Also write the figures to this file."""


def main() -> None:
    """Run the command."""
    run_command(_evaluate)


def _evaluate() -> None:
    config = tyro.cli(EvalConfig, args=sys.argv[1:], prog="eval.py")
    source = source_of(config.run, config.space, config.data)
    points = points_for(source.space)
    if given := config.factors.given():
        factors = {**source.space.factors, **given}
        name = ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())
        points = {**points, name: factors}
    names = [config.split] if config.split else source.splits()
    if not names:
        print("no split with pairs is known: name one with --split, and --data")
    results = {}
    for split in names:
        results[split] = evaluate(source.space, source.open(split), points)
        console.print(results_table(results[split], f"{split}: {source.space.title}"))
    if config.json is not None:
        files.write_json(config.json, {"retrieval": results})
