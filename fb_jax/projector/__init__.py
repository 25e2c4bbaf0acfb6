"""The projector, and the mixture of one projector for every subset of the starts."""

from fb_jax.projector.bond import Bond, require_compatible
from fb_jax.projector.fold import Folded, fold, mean_output
from fb_jax.projector.mixture import (
    Subset,
    Variables,
    init_mixture,
    init_projector,
    linear_members,
    project_members,
    subset_name,
    subsets,
)
from fb_jax.projector.pipelines import PIPELINES, Pipeline, PipelineName
from fb_jax.projector.projector import BatchNorm, Projector
from fb_jax.projector.router import SHAPES, Router, RouterShape, RouterSpec
from fb_jax.projector.spec import DIRECTIONS, BondKind, BondSpec, Direction, End

__all__ = [
    "DIRECTIONS",
    "PIPELINES",
    "SHAPES",
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
    "Router",
    "RouterShape",
    "RouterSpec",
    "Subset",
    "Variables",
    "fold",
    "init_mixture",
    "init_projector",
    "linear_members",
    "mean_output",
    "project_members",
    "require_compatible",
    "subset_name",
    "subsets",
]
