"""Factors and presets: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Factors = Mapping[str, float]
"""Modality to the weight of the expert, 0 to 1 (lambda_v, lambda_t, sigma_a, sigma_t)."""

PRESETS: Mapping[str, Factors] = {
    "versatile": {"audio": 0.5, "text": 0.1},  # [P]
    "at_expertise": {"audio": 0.8, "text": 0.5},  # [P]
    "it_expertise": {"image": 0.9, "text": 0.9},  # factors [P], the name is ours
}

CHOSEN = "chosen"
"""The preset of factors that were chosen on validation pairs; it comes first."""

HALFWAY = "halfway"
"""The preset of experts of other kinds than the paper's: every factor is 0.5 [O]."""

UNIFIED_ALONE = "unified_alone"
"""The preset of experts that bring modalities: what the unified space has is its own alone."""

EQUAL = "equal"
"""The preset of a direct sum: every space has the same weight, so that the scores of modalities
that all spaces have are the mean of the spaces' scores [O]."""


def halfway(weighted: Sequence[str]) -> dict[str, float]:
    """Return factors of 0.5 for some modalities."""
    return dict.fromkeys(weighted, 0.5)


def fitting(presets: Mapping[str, Factors], weighted: Sequence[str]) -> dict[str, Factors]:
    """Return the presets for exactly these modalities, or ``HALFWAY`` if there is none."""
    exact = {name: factors for name, factors in presets.items() if set(factors) == set(weighted)}
    exact.pop(CHOSEN, None)
    return exact or {HALFWAY: halfway(weighted)}


def as_text(factors: Factors) -> str:
    """Return factors in words: ``audio 0.5, text 0.1``."""
    return ", ".join(f"{modality} {factor:g}" for modality, factor in factors.items())
