"""Evaluation: metrics, the models of a table, factor sweeps, pictures, search."""

from fb_jax.evaluation.bootstrap import Bootstrap, Interval, paired_bootstrap
from fb_jax.evaluation.metrics import KS, RECALLS, of_all_positives
from fb_jax.evaluation.models import evaluate
from fb_jax.evaluation.plots import plot_losses, plot_queries
from fb_jax.evaluation.ranks import Positives, best_ranks
from fb_jax.evaluation.results import CAPTION, Figures, Results
from fb_jax.evaluation.retrieval import direction_ranks, retrieval
from fb_jax.evaluation.search import nearest
from fb_jax.evaluation.surfaces.heat_maps import plot_sweep
from fb_jax.evaluation.surfaces.pages import write_surfaces
from fb_jax.evaluation.surfaces.sets import levels_of, mean_by_kind, mean_levels, sweep_sets
from fb_jax.evaluation.surfaces.sweep import Sweep, sweep
from fb_jax.evaluation.tables.table import Cell, TaskTable
from fb_jax.evaluation.tables.tabulating import tabulate
from fb_jax.evaluation.tasks import Task

__all__ = [
    "CAPTION",
    "KS",
    "RECALLS",
    "Bootstrap",
    "Cell",
    "Figures",
    "Interval",
    "Positives",
    "Results",
    "Sweep",
    "Task",
    "TaskTable",
    "best_ranks",
    "direction_ranks",
    "evaluate",
    "levels_of",
    "mean_by_kind",
    "mean_levels",
    "nearest",
    "of_all_positives",
    "paired_bootstrap",
    "plot_losses",
    "plot_queries",
    "plot_sweep",
    "retrieval",
    "sweep",
    "sweep_sets",
    "tabulate",
    "write_surfaces",
]
