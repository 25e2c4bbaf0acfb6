"""Runs: configuration, checks before long work, the pipeline from banks to results."""

from fb_jax.run.config import Device, RunConfig, parse_config
from fb_jax.run.default import word_world
from fb_jax.run.describe import describe, introduce
from fb_jax.run.device import select_device
from fb_jax.run.pipeline import (
    Advance,
    Reporter,
    Run,
    Silent,
    default_space,
    prepare,
    report,
    train,
)
from fb_jax.run.preflight import Job, preflight
from fb_jax.run.product import Product, read_product
from fb_jax.run.stages import bond_runs, evaluation_banks, make_product, outline, points_for

__all__ = [
    "Advance",
    "Device",
    "Job",
    "Product",
    "Reporter",
    "Run",
    "RunConfig",
    "Silent",
    "bond_runs",
    "default_space",
    "describe",
    "evaluation_banks",
    "introduce",
    "make_product",
    "outline",
    "parse_config",
    "points_for",
    "preflight",
    "prepare",
    "read_product",
    "report",
    "select_device",
    "train",
    "word_world",
]
