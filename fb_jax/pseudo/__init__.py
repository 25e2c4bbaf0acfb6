"""Pseudo pairs: soft retrieval, the plans as data, and running a plan over banks."""

from fb_jax.pseudo.aggregate import TAU, Chunks, KeyBlock, aggregate
from fb_jax.pseudo.execute import BankStream, Retrieval, complete
from fb_jax.pseudo.nearest import nearest_values
from fb_jax.pseudo.pairs import PairSet, build_pairs
from fb_jax.pseudo.plans import (
    SIDES,
    Column,
    Hop,
    Plan,
    Ref,
    Side,
    anchor_of,
    bridge_of,
    in_order,
    plan_for,
)
from fb_jax.pseudo.spec import PairSpec

__all__ = [
    "SIDES",
    "TAU",
    "BankStream",
    "Chunks",
    "Column",
    "Hop",
    "KeyBlock",
    "PairSet",
    "PairSpec",
    "Plan",
    "Ref",
    "Retrieval",
    "Side",
    "aggregate",
    "anchor_of",
    "bridge_of",
    "build_pairs",
    "complete",
    "in_order",
    "nearest_values",
    "plan_for",
]
