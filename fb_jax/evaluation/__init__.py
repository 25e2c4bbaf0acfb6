"""Evaluation: retrieval metrics, the models of a table, factor sweeps, tables, plots, search."""

from fb_jax.evaluation.bootstrap import Interval, paired_bootstrap
from fb_jax.evaluation.models import Metrics, evaluate
from fb_jax.evaluation.plots import plot_losses, plot_sweep
from fb_jax.evaluation.retrieval import KS, best_ranks, direction_ranks, recall, retrieval
from fb_jax.evaluation.search import nearest
from fb_jax.evaluation.sweep import GRID, Sweep, sweep
from fb_jax.evaluation.tables import results_table

__all__ = [
    "GRID",
    "KS",
    "Interval",
    "Metrics",
    "Sweep",
    "best_ranks",
    "direction_ranks",
    "evaluate",
    "nearest",
    "paired_bootstrap",
    "plot_losses",
    "plot_sweep",
    "recall",
    "results_table",
    "retrieval",
    "sweep",
]
