"""Presets: factors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fb_jax.fusion.space import FusedSpace

Factors = Mapping[str, float]
"""Modality to the weight of the expert, 0 to 1 (lambda_v, lambda_t, sigma_a, sigma_t)."""

PRESETS: Mapping[str, Factors] = {
    "versatile": {"audio": 0.5, "text": 0.1},  # [P]
    "at_expertise": {"audio": 0.8, "text": 0.5},  # [P]
    "it_expertise": {"image": 0.9, "text": 0.9},  # factors [P], the name is ours
}

HALFWAY = "halfway"
"""The preset of experts of other kinds than the paper's: every factor at 0.5 [O]."""

EQUAL = "equal"
"""The preset of a direct sum: every space weighs as much as any other, so that the scores of
modalities that all the spaces have are the mean of the spaces' scores [O]."""


def presets_for(space: FusedSpace) -> dict[str, Factors]:
    """Return the presets that fit: of a direct sum ``EQUAL``, of weighted sums those that set the
    factors of just the experts' modalities, or ``HALFWAY``."""
    if space.direct:
        count = len(space.bonds)
        return {EQUAL: dict.fromkeys(space.weighted, count / (count + 1))}
    found = {name: at for name, at in space.presets.items() if set(at) == set(space.weighted)}
    return found or {HALFWAY: dict.fromkeys(space.weighted, 0.5)}
