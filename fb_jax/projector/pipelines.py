"""Pipelines: what the members of a bond are, and what they are trained with, as data.

FreeBind is this project's own; C-MCR and Ex-MCR are its rivals in Table 9. Of the settings of the
two, those that only their papers have are unconfirmed [M] (docs/ablations.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fb_jax.projector.mixture import Subset, subsets

PipelineName = Literal["freebind", "cmcr", "exmcr"]


@dataclass(frozen=True)
class Pipeline:
    """Settings of a pipeline, where the options of a training do not say otherwise.

    Attributes:
        starts: Starts of the pairs that its members are trained on: a member for every subset of
            them, one member for all, or one for the bridge (``fb_jax.pseudo.bridge_of``).
        hidden: Width of the hidden layers.
        temperature: Temperature of InfoNCE.
        noise: Variance of the Gaussian noise that is added to every embedding in training.
        intra: Weight of the distance between the modalities of one space.
    """

    starts: Literal["subsets", "all", "bridge"]
    hidden: int
    temperature: float
    noise: float = 0.0
    intra: float = 0.0

    def members(self, starts: Sequence[str], bridge: str) -> tuple[Subset, ...]:
        """Return the starts of each member."""
        if self.starts == "subsets":
            return subsets(starts)
        return ((bridge,),) if self.starts == "bridge" else (tuple(starts),)


PIPELINES: Mapping[str, Pipeline] = {
    "freebind": Pipeline("subsets", hidden=2048, temperature=1 / 50),
    "cmcr": Pipeline("bridge", hidden=1024, temperature=1 / 100, noise=0.004, intra=0.1),
    "exmcr": Pipeline("all", hidden=1024, temperature=1 / 20, noise=0.004, intra=0.1),
}
