"""A fused space over banks: what can be fused from them, and the rows and parts to fuse."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from fb_jax.banks import BankSet
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.stage import Parts
from fb_jax.numerics import Precision


def fusable(space: FusedSpace, banks: BankSet) -> tuple[str, ...]:
    """Return the modalities for which the banks have every native space that they are fused from.

    The space may be planned: its bonds need no numbers.
    """
    return tuple(
        m
        for m in dict.fromkeys(m for _, m in banks.banks)
        if m in space.modalities and all((s, m) in banks.banks for s in space.spaces_of(m))
    )


def sources(
    space: FusedSpace, banks: BankSet, modality: str, rows: slice = slice(None)
) -> dict[str, Float32[np.ndarray, "n _"]]:
    """Return the rows of a modality in every native space that it is fused from."""
    return {name: banks[name, modality][rows] for name in space.spaces_of(modality)}


def parts_of(
    space: FusedSpace, banks: BankSet, precision: Precision = "float32"
) -> dict[str, Parts]:
    """Return the last stage's parts of every modality that can be fused from the banks."""
    return {m: space.parts(m, sources(space, banks, m), precision) for m in fusable(space, banks)}


def licences_of(space: FusedSpace, banks: BankSet) -> dict[str, str]:
    """Return native space to the licence that its banks record, where it is known."""
    recorded = {name: bank.encoder.licence for (name, _), bank in banks.banks.items()}
    return {s: recorded[s] for s in space.spaces if recorded.get(s, "unknown") != "unknown"}
