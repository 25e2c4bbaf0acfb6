"""What routers bring: the tables of docs/routers.md.

python -m benchmarks.routers --data ROOT ... --runs RUNS ... prints them. Every bank root (the seeds
of the word world, say) has a folder of runs: ``freebind train --product NAME --data ROOT --out
RUNS --config fb_jax/word_world/config.yaml`` for imagebind_sum, imagebind_pp, internvl_ib_pp and
one, and with ``--out RUNS/apart`` for omnibind, whose bonds have the names of others. Figures are
R@1 on val, plain and hub-corrected (k 16, alpha 0.75); differences have a paired bootstrap over the
items of val.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro

from benchmarks.recalls import PAIRS, print_head, print_row
from benchmarks.routed import KINDS, OMNIBIND, SPACES, World, both_kinds
from fb_jax.fusion import sources
from fb_jax.training.routing import Routing

TEMPERATURES = {f"temperature 1/{n}": Routing(temperature=1 / n) for n in (50, 25, 14)}
CHOICES = {
    **TEMPERATURES,
    "400 steps": Routing(steps=400),
    "all nearest pairs": Routing(mutual=False),
    "OmniBind's layers": OMNIBIND,
}
DOMAINS = ("general", "music")
"""Domains of the word world's clips, in turn."""


def weights(worlds: Sequence[World]) -> None:
    """Print the mean weights of a router of audio by domain of the clip, a row for each world."""
    print_head("clips", "mean weights", "share of clips with the highest weight")
    for world in worlds:
        space = world.routed("imagebind_sum", "audio", Routing())
        rows = sources(space, world.banks(space, "val"), "audio")
        found = space.last.routers["audio"].weights(rows)
        for i, domain in enumerate(DOMAINS):
            own = found[i :: len(DOMAINS)] / found.shape[1]
            highest = np.bincount(own.argmax(axis=1), minlength=own.shape[1]) / len(own)
            cells = (" ".join(f"{x:.2f}" for x in numbers) for numbers in (own.mean(0), highest))
            print_row(domain, list(cells))


def routers(worlds: Sequence[World], names: Sequence[str], settings: Routing) -> None:
    """Print R@1 before and after, for the pairs of each router's modality."""
    print_head("router of", "pair", *KINDS)
    for name in names:
        before = [world.both(world.space(name)) for world in worlds]
        for modality in ("audio", "text"):
            after = [world.both(world.routed(name, modality, settings)) for world in worlds]
            for i, pair in enumerate(PAIRS):
                if modality in pair:
                    cells = both_kinds(before, after, i)
                    print_row(f"{modality}, {name}", ["-".join(pair), *cells])


def choices(worlds: Sequence[World]) -> None:
    """Print what settings of a router of audio change, against the default."""
    print_head("setting", "space", "pair", *KINDS)
    for name, tried in {"imagebind_sum": CHOICES, "one": TEMPERATURES}.items():
        trials: dict[str, tuple[Routing, tuple[str, ...] | None]]
        trials = {title: (settings, None) for title, settings in tried.items()}
        trials["paired with images, too"] = Routing(), ("text", "image")
        before = [world.both(world.routed(name, "audio", Routing())) for world in worlds]
        for title, trial in trials.items():
            after = [world.both(world.routed(name, "audio", *trial)) for world in worlds]
            for i, pair in enumerate(PAIRS[:2]):
                print_row(title, [name, "-".join(pair), *both_kinds(before, after, i)])


def bindings(worlds: Sequence[World]) -> None:
    """Print what OmniBind's item pairs and plain means change, both at their chosen factors."""
    print_head("space", "pair", *KINDS)
    names = ("internvl_ib_pp", "omnibind")
    before, after = ([world.both(world.space(name, "")) for world in worlds] for name in names)
    for i, pair in enumerate(PAIRS):
        cells = both_kinds(before, after, i)
        print_row("internvl_ib_pp → omnibind", ["-".join(pair), *cells])


def main(data: tuple[Path, ...], runs: tuple[Path, ...]) -> None:
    worlds = [World(*pair) for pair in zip(data, runs, strict=True)]
    weights(worlds)
    routers(worlds, list(SPACES), Routing())
    choices(worlds)
    routers(worlds, ["omnibind"], OMNIBIND)
    bindings(worlds)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
