"""The projector, and the mixture of one projector for every subset of the starts."""

from fb_jax.projector.bond import DIRECTIONS, Bond, BondKind, BondSpec, Direction, End
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import (
    Subset,
    Variables,
    init_mixture,
    init_projector,
    parameter_count,
    project_members,
    subset_name,
    subsets,
)
from fb_jax.projector.projector import BatchNorm, Projector

__all__ = [
    "DIRECTIONS",
    "BatchNorm",
    "Bond",
    "BondKind",
    "BondSpec",
    "Direction",
    "End",
    "Folded",
    "Projector",
    "Subset",
    "Variables",
    "fold",
    "init_mixture",
    "init_projector",
    "mean_output",
    "parameter_count",
    "project_members",
    "subset_name",
    "subsets",
]
