"""What OmniBind's second router loss (Eq. R6) brings: a table of docs/routers.md.

python -m benchmarks.text_sources --data ROOT ... --runs RUNS ..., as benchmarks.routers, trains
routers of text with OmniBind's layers on the direct sum of ImageBind, InternVL and both CLAPs in
one stage. The loss asks which media a text describes. The word world does not say, so that two
columns are tried:

    own      audio or image, if the pool has a file of this word in that modality only. Nothing in
             the text shows it, as texts are drawn like the words of the media.
    letters  short words are captions of audio, long ones of images, so that the text shows it. Only
             short words ask for audio and only long ones for images here, as captions do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro

from benchmarks.recalls import PAIRS, change, print_head, print_row
from benchmarks.routed import OMNIBIND, Both, World
from fb_jax.banks import Split
from fb_jax.fusion import FusedSpace
from fb_jax.run.routing import RouterJob, with_routers
from fb_jax.training import load_bond

EXPERTS = ("internvl", "clap_general", "clap_music")
SHORT = 7
"""Most letters of a short word; about half of the words are short."""


def words(split: Split, modality: str) -> list[str]:
    """Return the word of each item: its caption, or part of the name of its file."""
    items = split.items(modality)
    return [
        str(item.get("caption") or Path(str(item["path"])).stem.split("-", 1)[1]) for item in items
    ]


def named_sources(split: Split, column: str) -> list[str | None]:
    """Return the source of each text of a pool; see the top of this file."""
    texts = words(split, "text")
    if column == "letters":
        return ["audio" if len(word) <= SHORT else "image" for word in texts]
    spoken, drawn = (set(words(split, modality)) for modality in ("audio", "image"))
    known = dict.fromkeys(spoken - drawn, "audio") | dict.fromkeys(drawn - spoken, "image")
    return [known.get(word) for word in texts]


def with_sources(pool: Split, column: str, folder: Path) -> Split:
    """Return a split whose list of texts is a pool's, with a column ``source``."""
    named = zip(pool.items("text"), named_sources(pool, column), strict=True)
    split = Split(folder)
    split.items_path("text").parent.mkdir()
    lines = (json.dumps({**item, "source": source}) + "\n" for item, source in named)
    split.items_path("text").write_text("".join(lines))
    return split


@dataclass(frozen=True)
class SourceWorld(World):
    """A world whose texts may have sources."""

    @cached_property
    def four(self) -> FusedSpace:
        """The space whose text is routed."""
        bonds = (load_bond(self.runs / f"imagebind-direct_sum-{e}" / "bond") for e in EXPERTS)
        return FusedSpace.of(*bonds, at="equal")

    def trial(self, others: tuple[str, ...], column: str) -> Both:
        """Return the hits with a router, trained on a column of sources, or "" without."""
        pool = self.banks(self.four, "pool")
        with TemporaryDirectory() as folder:
            if column:
                split = with_sources(Split(self.root / "pool"), column, Path(folder))
                pool = replace(pool, split=split)
            router = RouterJob(self.four, "text", pool, OMNIBIND, others).train()
        return self.both(with_routers(self.four, {"text": router}))

    def asked(self, pair: tuple[str, str]) -> np.ndarray:
        """Return the rows of val whose text is a caption of the other modality, by letters."""
        short = np.array([len(word) <= SHORT for word in words(Split(self.root / "val"), "text")])
        return np.flatnonzero(short if "audio" in pair else ~short)


def show(
    worlds: Sequence[SourceWorld], name: str, before: Sequence[Both], after: Sequence[Both]
) -> None:
    """Print what a router changes, hub-corrected: over all words, and over those that ask."""
    for i, pair in enumerate(PAIRS):
        if "text" not in pair:
            continue
        sides = [[one[1, i] for one in side] for side in (before, after)]
        asked = [
            [one[world.asked(pair)] for one, world in zip(side, worlds, strict=True)]
            for side in sides
        ]
        cells = []
        for old, new in (sides, asked):
            mean = np.mean([one.mean() for one in new])
            cells.append(f"{mean:.1f}, {change(old, new)}")
        print_row(name, ["-".join(pair), *cells])


def main(data: tuple[Path, ...], runs: tuple[Path, ...]) -> None:
    worlds = [SourceWorld(*pair) for pair in zip(data, runs, strict=True)]
    print_head("router of text", "pair", "all words", "words that ask, by letters")
    bare = [world.both(world.four) for world in worlds]
    for others in (("audio",), ("audio", "image")):
        plain = [world.trial(others, "") for world in worlds]
        show(worlds, f"pairs with {' and '.join(others)}, against none", bare, plain)
        for column in ("own", "letters"):
            found = [world.trial(others, column) for world in worlds]
            show(worlds, f"R6, {column}, against without", plain, found)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
