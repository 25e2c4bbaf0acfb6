"""Choosing factors on validation pairs [O]: an aim, and the factors that meet it best."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from fb_jax import files
from fb_jax.errors import FreeBindError, require_range, unknown
from fb_jax.evaluation.classes import CLASS
from fb_jax.evaluation.surfaces.sweep import Sweep

MEAN, KEPT, WITHIN = "mean", "others no worse than unified", "others within 1 of unified"
ROUNDING = 1e-6
"""Points of R@1 that are rounding: one query among 10 million is more."""
AIM = re.compile(r"([^\s,]+)( ?, ?others (?:(no worse than)|within ([0-9.]{1,6}) of) unified)?")


@dataclass(frozen=True)
class Aim:
    """What chosen factors are to be best at.

    Attributes:
        pair: Pair of modalities whose R@1 counts; "mean" for the mean of all.
        loss: Points of R@1, 0 to 100, by which any other pair (with "mean": any pair) may fall
            below the unified space, as far as some factors allow it; None if that does not matter.

    Raises:
        FreeBindError: The loss is out of range.
    """

    pair: str = MEAN
    loss: float | None = None

    def __post_init__(self) -> None:
        if self.loss is not None:
            require_range("aim", 0.0, 100.0, loss=self.loss)

    @classmethod
    def parse(cls, text: str) -> Aim:
        """Read ``mean`` or ``audio-text``, alone or with what other pairs may lose.

        That is ``, others no worse than unified`` or ``, others within 1 of unified``.

        Raises:
            FreeBindError: It is none of these.
        """
        found = AIM.fullmatch(" ".join(text.split()))
        parts = found[1].split("-") if found else []
        if not found or not (found[1] == MEAN or len(parts) == 2):
            raise FreeBindError(
                "this is no aim to choose factors by",
                expected=f"{MEAN}, a pair such as audio-text, or either with ', {KEPT}' "
                f"or ', {WITHIN}' (points)",
                got=text,
            )
        pair = "-".join(sorted(parts, key=lambda m: (m == CLASS, m)))  # "mean" is one part
        with files.explained("this is no number of points", text):
            loss = float(found[4] or 0)
        return cls(pair, loss if found[2] else None)

    def require_among(self, pairs: Iterable[str], where: object) -> None:
        """Raise a FreeBindError unless the pair that counts is one of some pairs, or "mean"."""
        if self.pair not in (known := [MEAN, *pairs]):
            raise unknown("pair of modalities", self.pair, known, where)

    def __str__(self) -> str:
        score = "accuracy" if self.pair.endswith(CLASS) else "R@1"
        what = "the mean R@1 of all pairs" if self.pair == MEAN else f"the {score} of {self.pair}"
        within = f", others within {self.loss:g} of unified" if self.loss else ""
        return what + (f", {KEPT}" if self.loss == 0 else within)


@dataclass(frozen=True)
class Choice:
    """Factors that were chosen.

    Attributes:
        factors: Modality to the weight of the expert part.
        reached: Pair of modalities to R@1 in percent on the validation pairs at these factors.
        short: Sum over the other pairs of the R@1 that they lose beyond what the aim allows: more
            than 0 if no factors keep all.
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
    kept = [] if aim.loss is None else [p for p in pairs if p not in aimed or aim.pair == MEAN]
    every: Any = np.zeros([len(swept.grid)] * len(swept.modalities))
    score, mean = (every + sum(pairs[p] for p in some) / len(some) for some in (aimed, pairs))
    least = {p: swept.unified[p] - (aim.loss or 0) for p in kept}
    short = every + sum(np.maximum(0, least[p] - pairs[p]) for p in kept)
    score = np.where(np.isclose(short, short.min()), score, -1)
    mean = np.where(score >= score.max() - ROUNDING, mean, -1)
    best = middle(mean >= mean.max() - ROUNDING)
    reached = {
        p: float(np.broadcast_to(surface, every.shape)[best]) for p, surface in pairs.items()
    }
    factors = {m: swept.grid[int(i)] for m, i in zip(swept.modalities, best, strict=True)}
    return Choice(dict(sorted(factors.items())), reached, float(short[best]))


def middle(equal: Bool[np.ndarray, ...]) -> tuple[int, ...]:
    """Return the place in a set that is nearest to its mean; of equal ones the first."""
    places = np.argwhere(equal)
    nearest = np.square(places - places.mean(axis=0)).sum(axis=1).argmin()
    return tuple(places[nearest].tolist())
