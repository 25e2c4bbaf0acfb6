"""Runs: options, checks before long work, run folders, products, and ``fit``."""

from fb_jax.run.bond import prepare, report, train
from fb_jax.run.checks import Job, preflight
from fb_jax.run.default import word_world
from fb_jax.run.describe import describe, introduce
from fb_jax.run.device import Device, computing_on, select_device
from fb_jax.run.distil import distil
from fb_jax.run.fit import fit
from fb_jax.run.folder import Run
from fb_jax.run.options import RunConfig
from fb_jax.run.own_spaces import product_of
from fb_jax.run.parsing import parse_config
from fb_jax.run.product import bond_runs, make_product, plan_product
from fb_jax.run.recipe import Product, read_product
from fb_jax.run.report import points_for
from fb_jax.run.reporter import Reporter, Silent
from fb_jax.run.splits import evaluation_banks

__all__ = [
    "Device",
    "Job",
    "Product",
    "Reporter",
    "Run",
    "RunConfig",
    "Silent",
    "bond_runs",
    "computing_on",
    "describe",
    "distil",
    "evaluation_banks",
    "fit",
    "introduce",
    "make_product",
    "parse_config",
    "plan_product",
    "points_for",
    "preflight",
    "prepare",
    "product_of",
    "read_product",
    "report",
    "select_device",
    "train",
    "word_world",
]
