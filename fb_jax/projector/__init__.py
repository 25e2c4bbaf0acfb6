"""The projector, and the mixture of one projector for every subset of the starts."""

from fb_jax.projector.bond import Bond
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import (
    Subset,
    Variables,
    init_mixture,
    init_projector,
    project_members,
    subset_name,
    subsets,
)
from fb_jax.projector.pipelines import PIPELINES, Pipeline, PipelineName
from fb_jax.projector.projector import BatchNorm, Projector
from fb_jax.projector.spec import DIRECTIONS, BondKind, BondSpec, Direction, End

__all__ = [
    "DIRECTIONS",
    "PIPELINES",
    "BatchNorm",
    "Bond",
    "BondKind",
    "BondSpec",
    "Direction",
    "End",
    "Folded",
    "Pipeline",
    "PipelineName",
    "Projector",
    "Subset",
    "Variables",
    "fold",
    "init_mixture",
    "init_projector",
    "mean_output",
    "project_members",
    "subset_name",
    "subsets",
]
