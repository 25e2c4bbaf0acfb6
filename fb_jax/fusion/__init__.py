"""Fused spaces: weighted sums of bonded spaces, in memory and on disk."""

from fb_jax.fusion.fuse import write_fused
from fb_jax.fusion.space import PRESETS, Factors, FusedSpace, Parts, fusable, presets_for

__all__ = ["PRESETS", "Factors", "FusedSpace", "Parts", "fusable", "presets_for", "write_fused"]
