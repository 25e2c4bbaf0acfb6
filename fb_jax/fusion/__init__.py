"""Fused spaces: weighted sums and direct sums of bonded spaces, in memory and on disk."""

from fb_jax.fusion.banks import Missing, write_fused
from fb_jax.fusion.cut import CutSum, cut, uncut, with_basis
from fb_jax.fusion.embedder import Embedder, ItemEncoder
from fb_jax.fusion.factors import PRESETS, Factors
from fb_jax.fusion.hubs import Hub, HubCorrection, Role
from fb_jax.fusion.layout import at_digest, digest
from fb_jax.fusion.queries import SearchedSpace
from fb_jax.fusion.sources import by_spaces, fusable, licences_of, parts_of, sources
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.stage import Parts, Stage
from fb_jax.fusion.storage import read_space, write_space
from fb_jax.fusion.sums import DirectSum, WeightedSum

__all__ = [
    "PRESETS",
    "CutSum",
    "DirectSum",
    "Embedder",
    "Factors",
    "FusedSpace",
    "Hub",
    "HubCorrection",
    "ItemEncoder",
    "Missing",
    "Parts",
    "Role",
    "SearchedSpace",
    "Stage",
    "WeightedSum",
    "at_digest",
    "by_spaces",
    "cut",
    "digest",
    "fusable",
    "licences_of",
    "parts_of",
    "read_space",
    "sources",
    "uncut",
    "with_basis",
    "write_fused",
    "write_space",
]
