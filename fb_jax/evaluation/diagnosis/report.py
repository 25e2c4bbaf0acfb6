"""What a diagnosis found, as data and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from fb_jax.evaluation.diagnosis.sample import Sampling
from fb_jax.evaluation.diagnosis.sharpness import Spread

SPREAD = 0.1
"""A soft retrieval whose effective number of keys is a larger share of them spreads too far."""

ABOVE_CHANCE = 3.0
"""Two spaces agree on retrieval if they share more than this many times what chance gives."""

CONTRADICT = 0.1
"""Experts that share fewer of the nearest items contradict each other."""

CARRIED = 0.1
"""If a linear map carries a smaller share of the items, the two spaces may hold other items."""

HUBS = 3.0
"""A larger skewness of k-occurrence means hubs."""

STAY, LITTLE = 0.002, 0.02
"""Expected gains and losses below these mean "stay as it is", and "a little"."""

NO_USE = "audio-image"
"""Pair whose expected sign was right in 12 of 31 cases of the study (docs/diagnosis.md)."""


class Link(NamedTuple):
    """How a space links two modalities: see ``round_trips``, ``gap`` and ``hubness``.

    Attributes:
        trips: Share of round trips that return.
        gap: Modality gap.
        hubs: Hubness of the second modality, found from the first; and the other way round.
    """

    trips: float
    gap: float
    hubs: tuple[float, float]


class Likeness(NamedTuple):
    """How two spaces agree on a modality: see ``overlap`` and ``cka``."""

    neighbours: float
    cka: float


@dataclass(frozen=True)
class Diagnosis:
    """Measures of spaces over one split.

    Attributes:
        split: Where the items are.
        sampling: How many were measured.
        spaces: The unified space, the experts and, after a bond, the fused space.
        items: Modality to the number of items that were compared.
        hops: Expert to start to soft retrieval (``query; keys``) to its spread.
        links: Space to pair of modalities (``audio-text``) to how it links them.
        hubs: Space to modality to hubness within it.
        likeness: Two spaces (``a, b``) to modality to how they agree.
        retrieval: Two spaces to ``audio->text`` to the share of nearest items that both find.
        carried: Expert to modality to the share of items that a linear map carries into the unified
            space: see ``prediction.carried``.
        expected: Expert to preset to pair of modalities to expected gain: see ``expected_gain``.
    """

    split: str
    sampling: Sampling
    spaces: tuple[str, ...]
    items: Mapping[str, int]
    hops: Mapping[str, Mapping[str, Mapping[str, Spread]]] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, Link]] = field(default_factory=dict)
    hubs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    likeness: Mapping[str, Mapping[str, Likeness]] = field(default_factory=dict)
    retrieval: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    carried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    expected: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {name: _plain(value) for name, value in vars(self).items()}

    def verdicts(self) -> list[str]:
        """Return what follows from the measures, a sentence each."""
        parts = (
            self._starts(),
            self._carried(),
            self._contradictions(),
            self._hubs(),
            self._expectations(),
        )
        return [sentence for part in parts for sentence in part]

    def trust(self, expert: str) -> dict[str, tuple[str, str]]:
        """Return for every start whether its pseudo pairs can be trusted, and why.

        "no": a soft retrieval spreads further than ``SPREAD``, or the two spaces hardly agree on
        the nearest items; "yes": sharp, and they agree; "unchecked": sharp, but nothing checks it,
        since only one space links the start with other modalities or there are too few items.
        """
        common = self.retrieval[f"{self.spaces[0]}, {expert}"]
        return {
            start: self._trust(start, hops, common) for start, hops in self.hops[expert].items()
        }

    def _trust(
        self, start: str, hops: Mapping[str, Spread], common: Mapping[str, float]
    ) -> tuple[str, str]:
        hop, spread = max(hops.items(), key=lambda h: h[1].share)
        if spread.share > SPREAD:
            return "no", f"soft retrieval ({hop}) spreads over {spread}"
        ways = {way: share for way, share in common.items() if way.startswith(f"{start}->")}
        if not ways:
            return "unchecked", "sharp, but only the unified space links it"
        way, share = min(ways.items(), key=lambda w: w[1])
        chance = self.sampling.neighbours / self.items[way.split("->")[1]]
        if ABOVE_CHANCE * chance >= 1:
            return "unchecked", f"{way}: too few items, {self.sampling.neighbours} nearest count"
        percent = f"{100 * share:.1f} % of the nearest, chance is {100 * chance:.1f} %"
        why = f"{way}: both spaces share {percent}"
        return ("yes" if share > ABOVE_CHANCE * chance else "no"), why

    def _starts(self) -> Iterator[str]:
        for expert in self.hops:
            for start, (word, why) in self.trust(expert).items():
                if word == "no":
                    yield f"{expert}, start {start}: {why}; do not trust pseudo pairs from {start}"

    def _carried(self) -> Iterator[str]:
        for expert, modalities in self.carried.items():
            for modality, share in modalities.items():
                if share < CARRIED:
                    yield (
                        f"{expert}, {modality}: a linear map finds {100 * share:.0f} % of the "
                        f"items again in {self.spaces[0]}; row i may not be the same item in both "
                        "spaces, or the rows are noise"
                    )

    def _contradictions(self) -> Iterator[str]:
        experts = set(self.hops)
        for both, modalities in self.likeness.items():
            low = [f"{m} {x.neighbours:.2f}" for m, x in modalities.items() if x[0] < CONTRADICT]
            if low and set(both.split(", ")) <= experts:
                yield (
                    f"{both.replace(', ', ' and ')} contradict each other: of the nearest items "
                    f"of an item they share {', '.join(low)}"
                )

    def _hubs(self) -> Iterator[str]:
        for space, pairs in self.links.items():
            for pair, link in pairs.items():
                left, right = pair.split("-")
                for found, skewness in ((right, link.hubs[0]), (left, link.hubs[1])):
                    if skewness > HUBS:
                        asked = left if found == right else right
                        yield (
                            f"{space}: a few {found} items are found for many {asked} items "
                            f"(skewness {skewness:.1f})"
                        )

    def _expectations(self) -> Iterator[str]:
        for expert, presets in self.expected.items():
            name, gains = next(iter(presets.items()))
            says = ", ".join(f"{pair} to {_verb(gain)}" for pair, gain in gains.items())
            yield f"{expert} at {name}: expect {says}"
        if any(NO_USE in gains for own in self.expected.values() for gains in own.values()):
            yield (
                f"do not rely on {NO_USE}: in the study its sign was wrong about as often as right "
                "(docs/diagnosis.md)"
            )


def _verb(gain: float) -> str:
    """Return an expected gain in words."""
    if abs(gain) < STAY:
        return "stay as it is"
    return ("gain" if gain > 0 else "lose") + (" a little" if abs(gain) < LITTLE else "")


def _plain(value: Any) -> Any:
    """Return named tuples, dataclasses and mappings as dictionaries."""
    if isinstance(value, Sampling):
        return asdict(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return list(value) if isinstance(value, tuple) else value
