"""Choosing factors on validation pairs [O]: an aim, and the factors that meet it best."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from fb_jax.banks.pair_tables import pair_key
from fb_jax.errors import FreeBindError, unknown
from fb_jax.evaluation.sweep import Sweep
from fb_jax.fusion import Factors

MEAN, KEPT = "mean", "others no worse than unified"
EQUAL = 1e-6
"""Points of R@1 that are rounding: one query among 10 million is more."""
AIM = re.compile(rf"\s*([^\s,]+)\s*(,\s*{KEPT.replace(' ', chr(92) + 's+')}\s*)?")


@dataclass(frozen=True)
class Aim:
    """What chosen factors are to be best at.

    Attributes:
        pair: Pair of modalities whose R@1 counts; "mean" for the mean of all.
        keep: Whether the R@1 of no other pair (with "mean": of no pair) may fall below that of the
            unified space, as far as some factors allow it.
    """

    pair: str = MEAN
    keep: bool = False

    @classmethod
    def parse(cls, text: str) -> Aim:
        """Read ``mean``, ``audio-text``, or either with ``, others no worse than unified``.

        Raises:
            FreeBindError: It is none of these.
        """
        found = AIM.fullmatch(text)
        parts = found[1].split("-") if found else []
        if not found or not (found[1] == MEAN or len(parts) == 2):
            raise FreeBindError(
                "this is no aim to choose factors by",
                expected=f"{MEAN}, a pair such as audio-text, or either with ', {KEPT}'",
                got=text,
            )
        pair = MEAN if found[1] == MEAN else "-".join(pair_key(parts[0], parts[1]))
        return cls(pair, bool(found[2]))

    def require_among(self, pairs: Iterable[str], where: object) -> None:
        """Raise a FreeBindError unless the pair that counts is one of some pairs, or "mean"."""
        if self.pair not in (known := [MEAN, *pairs]):
            raise unknown("pair of modalities", self.pair, known, where)

    def __str__(self) -> str:
        what = "the mean R@1 of all pairs" if self.pair == MEAN else f"the R@1 of {self.pair}"
        return what + (f", {KEPT}" if self.keep else "")


@dataclass(frozen=True)
class Choice:
    """Factors that were chosen.

    Attributes:
        factors: Modality to the weight of the expert part.
        reached: Pair of modalities to R@1 in percent on the validation pairs at these factors.
        short: Sum over the other pairs of the R@1 that they lose against the unified space, if the
            aim keeps them: more than 0 if no factors keep all.
    """

    factors: dict[str, float]
    reached: dict[str, float]
    short: float = 0.0


def choose(swept: Sweep, aim: Aim) -> Choice:
    """Return the factors of a grid that meet an aim best.

    Of equal ones it returns those with the best mean of all pairs, since a pair leaves the factors
    of other modalities open; of these the ones in their middle.

    Raises:
        FreeBindError: The aim names a pair that was not swept.
    """
    pairs = {pair: swept.over_factors(pair) for pair in swept.surfaces}
    aim.require_among(pairs, "the aim to choose factors")
    aimed = [aim.pair] if aim.pair in pairs else list(pairs)
    others = [p for p in pairs if aim.keep and (p not in aimed or aim.pair == MEAN)]
    every: Any = np.zeros([len(swept.grid)] * len(swept.modalities))
    score, mean = (every + sum(pairs[p] for p in some) / len(some) for some in (aimed, pairs))
    short = every + sum(np.maximum(0, swept.unified[p] - pairs[p]) for p in others)
    score = np.where(np.isclose(short, short.min()), score, -1)
    mean = np.where(score >= score.max() - EQUAL, mean, -1)
    best = _middle(mean >= mean.max() - EQUAL)
    reached = {
        p: float(np.broadcast_to(surface, every.shape)[best]) for p, surface in pairs.items()
    }
    factors = {m: swept.grid[int(i)] for m, i in zip(swept.modalities, best, strict=True)}
    return Choice(dict(sorted(factors.items())), reached, float(short[best]))


def _middle(equal: Bool[np.ndarray, ...]) -> tuple[int, ...]:
    """Return the place in a set that is nearest to its mean; of equal ones the first."""
    places = np.argwhere(equal)
    nearest = np.square(places - places.mean(axis=0)).sum(axis=1).argmin()
    return tuple(places[nearest].tolist())


def as_text(factors: Factors) -> str:
    """Return factors in words: ``audio 0.5, text 0.1``."""
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())
