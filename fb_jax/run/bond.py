"""The run of one bond: checks, pseudo pairs, training, results."""

from __future__ import annotations

import os
import platform
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import yaml

from fb_jax import files
from fb_jax.banks import open_banks
from fb_jax.evaluation import plot_losses
from fb_jax.fusion import CutSum, FusedSpace, digest
from fb_jax.projector import Bond
from fb_jax.pseudo import build_pairs
from fb_jax.registry import METRICS
from fb_jax.run.checks import Job, preflight
from fb_jax.run.device import computing_on, select_device
from fb_jax.run.options import RunConfig
from fb_jax.run.provenance import (
    Fingerprints,
    claim_digest,
    fingerprints,
    read_provenance,
    tell_changed,
)
from fb_jax.run.report import Report, cut_once, report_space
from fb_jax.run.reporter import Reporter
from fb_jax.training import is_trained, load_bond, read_log, train_bond

PACKAGES = ("freebind-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
VARIABLES = ("JAX_", "XLA_", "NVIDIA_TF32_OVERRIDE")
CACHES = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")  # where compiled code is kept


def prepare(config: RunConfig, reporter: Reporter) -> Job:
    """Run every check; see ``preflight``."""
    with reporter.task("checking the banks", 0) as advance:
        return preflight(config, advance)


def train(job: Job, reporter: Reporter) -> Bond:
    """Build the pseudo pairs and train the bond, or continue with either.

    Args:
        job: From ``prepare``.
        reporter: Shows progress.

    Returns:
        The trained bond.
    """
    with computing_on(job.config.device):
        return _train(job, reporter)


def _train(job: Job, reporter: Reporter) -> Bond:
    config, folder = job.config, job.paths.bond
    _write_head(job)
    if is_trained(folder):
        with reporter.task("training", len(job.schedule)) as advance:
            advance(len(job.schedule))
        return load_bond(folder)
    resident = config.runtime.resident_bytes
    with reporter.task("pseudo pairs", sum(map(len, job.pairs.ranges.values()))) as advance:
        pairs = build_pairs(job.pairs, job.pairs_folder, resident_bytes=resident, progress=advance)
    with reporter.task("checking the pairs", 0) as advance:
        pairs.verify(advance)
    with reporter.task("training", len(job.schedule)) as advance:
        return train_bond(pairs, config.bond, folder, config.training, config.runtime, advance)


def _write_head(job: Job) -> None:
    config, paths = job.config, job.paths
    files.claim(paths.marker, job.identity(), "results")
    paths.require_own_bond()
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    files.write_atomic(paths.config, lambda file: file.write(text.encode()))
    if began := paths.provenance.exists():
        recorded = read_provenance(paths.provenance, paths.marker).banks
        tell_changed(recorded, _banks(job), config.data)
    if not (began and paths.metrics.exists()):  # until there are new results, it is of these
        _write_provenance(job, _banks(job))


def _banks(job: Job) -> Fingerprints:
    return {job.config.pool: job.pairs.banks.fingerprints()} | fingerprints(job.evaluation)


def _write_provenance(job: Job, banks: Fingerprints) -> None:
    config, paths = job.config, job.paths
    now = _origin(config)
    began = paths.provenance.exists()
    before = files.read_json(paths.provenance, dict[str, Any]) if began else now
    current = {
        "run": claim_digest(paths.marker),
        "data": str(config.data.absolute()),
        "banks": banks,
        "evaluation": list(job.evaluation),
        "dim": config.dim,
        "metrics": [METRICS.identity(name) for name in config.metrics],
    }
    files.write_json(paths.provenance, before | current | _later(before, now))


def _later(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the environments of later processes that differ from the first, if there are any."""
    first = {name: before.get(name) for name in now}
    known = [first, *before.get("later", [])]
    later = known[1:] if now in known else [*known[1:], now]
    return {"later": later} if later else {}


def _origin(config: RunConfig) -> dict[str, Any]:
    """Return what this process is: the first one of a run, or one that may differ from it."""
    device = select_device(config.device)
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_kind": device.device_kind,
        "x64": jax.config.jax_enable_x64,  # type: ignore[attr-defined]
        "matmul_precision": jax.config.values["jax_default_matmul_precision"],
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(VARIABLES) and not name.startswith(CACHES)
        },
    }


def report(job: Job, bond: Bond, reporter: Reporter) -> Report:
    """Choose factors and evaluate on every split with pairs; write metrics and pictures.

    Args:
        job: From ``prepare``.
        bond: The trained bond.
        reporter: Shows progress.
    """
    space, config = _cut(job, FusedSpace.of(bond), reporter), job.config
    plot_losses(read_log(job.paths.bond / "metrics.jsonl"), job.paths.losses)
    pool = partial(open_banks, config.data, config.pool, spaces=space.spaces)
    options = reporter, config.metrics, config.choosing, pool
    banks = _banks(job)
    made = report_space(space, job.evaluation, config.folder, *options)
    if job.paths.provenance.exists():  # else the bond comes from elsewhere
        _write_provenance(job, banks)
    return made


def _cut(job: Job, space: FusedSpace, reporter: Reporter) -> FusedSpace:
    """Cut a direct sum if the options say so; fitted once, then kept."""
    config = job.config
    if config.dim is None:
        return space
    kept, uncut = job.paths.kept_basis(space), digest(space)
    with reporter.task(f"cut to {config.dim} dimensions", 0):
        space = cut_once(space, config.dim, kept, config.data, config.pool)
    if kept is None and isinstance(space.last, CutSum):
        files.write_recorded(job.paths.basis, space.last.basis, {"space": uncut})
    return space
