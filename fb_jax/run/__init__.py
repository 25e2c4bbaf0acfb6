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

__all__ = [
    "Advance",
    "Device",
    "Job",
    "Reporter",
    "Run",
    "RunConfig",
    "Silent",
    "default_space",
    "describe",
    "introduce",
    "parse_config",
    "preflight",
    "prepare",
    "report",
    "select_device",
    "train",
    "word_world",
]
