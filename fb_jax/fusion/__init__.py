"""Fused spaces: weighted sums of bonded spaces, in memory and on disk."""

from fb_jax.fusion.embed import ItemEncoder
from fb_jax.fusion.fuse import weights_digest, write_fused
from fb_jax.fusion.presets import PRESETS, Factors, presets_for
from fb_jax.fusion.space import FusedSpace, Parts, fusable

__all__ = [
    "PRESETS",
    "Factors",
    "FusedSpace",
    "ItemEncoder",
    "Parts",
    "fusable",
    "presets_for",
    "weights_digest",
    "write_fused",
]
