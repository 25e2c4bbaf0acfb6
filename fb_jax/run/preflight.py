"""Before long work: everything that can be checked, and what the work will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax

from fb_jax.banks import BankSet, Progress, files, no_progress, open_banks, open_split, splits
from fb_jax.errors import FreeBindError
from fb_jax.pseudo import PairSpec
from fb_jax.run.config import Device, RunConfig
from fb_jax.run.estimate import estimate
from fb_jax.training import Schedule

PAIRS_NAME_DIGITS = 12


@dataclass(frozen=True)
class Job:
    """A run that has passed every check.

    Attributes:
        config: Resolved.
        spec: The pseudo pairs.
        schedule: The steps of training.
        evaluation: Split name to both spaces' banks, for every split that has pairs.
    """

    config: RunConfig
    spec: PairSpec
    schedule: Schedule
    evaluation: dict[str, BankSet]

    @property
    def pairs_folder(self) -> Path:
        """Where the pseudo pairs are or will be: named by what they are made from."""
        digest = files.sha256_of_json(self.spec.identity())[:PAIRS_NAME_DIGITS]
        return self.config.store / f"{self.spec.unified}-{self.spec.expert}-{digest}"

    def identity(self) -> dict[str, object]:
        """Return what tells this run from others, as JSON."""
        config = self.config.to_dict()
        return {
            "format": "freebind-run",
            "version": 1,
            "bond": self.config.bond,
            "training": config["training"],
            "pairs": self.spec.identity(),
        }


def select_device(device: Device) -> jax.Device:
    """Return the device to compute on.

    Raises:
        FreeBindError: A GPU was asked for and there is none.
    """
    if device == "auto":
        return jax.devices()[0]
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise FreeBindError(
            f"there is no {device} to compute on",
            expected="a device that JAX sees",
            got=", ".join(str(found) for found in jax.devices()),
            fix="install the package with the extra cuda12 or cuda13 on a machine with a GPU, "
            "or use --device cpu",
        ) from error


def preflight(config: RunConfig, progress: Progress = no_progress) -> Job:
    """Check everything that can be checked before long work.

    Args:
        config: The run.
        progress: Told of bank rows whose bytes were verified.

    Returns:
        The run, ready.

    Raises:
        FreeBindError: The first thing that is wrong.
    """
    config = config.resolved()
    _require_precision(config)
    spaces = (config.unified, config.expert)
    banks = open_banks(config.data, config.pool, spaces=spaces)
    spec = PairSpec(banks, config.unified, config.expert, config.pairs)
    schedule = config.training.schedule(config.bond, spec.ranges)
    job = Job(config, spec, schedule, _evaluation_splits(config))
    for folder in (config.folder, config.store):
        files.require_writable(folder)
    _require_own_folder(job)
    needs = estimate(job.spec, schedule, config)
    missing = needs.pairs_disk - files.folder_bytes(job.pairs_folder)
    files.require_space(config.store, missing)
    files.require_space(config.folder, needs.checkpoints_disk)
    for bank_set in (banks, *job.evaluation.values()):
        bank_set.verify(progress)
    return job


def _require_precision(config: RunConfig) -> None:
    on_cpu = select_device(config.device).platform == "cpu"
    if on_cpu and "tf32" in (config.pairs.precision, config.training.precision):
        raise FreeBindError("tf32 needs a GPU", got="precision tf32 on a CPU", fix="use float32")


def _evaluation_splits(config: RunConfig) -> dict[str, BankSet]:
    """Open every split besides the pool that has both spaces and pairs."""
    spaces = {config.unified, config.expert}
    others = [open_split(config.data, name) for name in splits(config.data) if name != config.pool]
    usable = [split.name for split in others if spaces <= split.spaces().keys() and split.paired()]
    ordered = (config.unified, config.expert)
    return {name: open_banks(config.data, name, spaces=ordered) for name in usable}


def _require_own_folder(job: Job) -> None:
    marker = job.config.folder / "run.json"
    if marker.exists():
        files.claim(marker, job.identity(), "results")
    elif job.config.folder.is_dir() and any(job.config.folder.iterdir()):
        raise FreeBindError(
            "the run folder holds something else",
            where=job.config.folder,
            expected="no such folder, an empty one, or one of the same run",
            got=sorted(path.name for path in job.config.folder.iterdir())[:5],
            fix="choose another --out",
        )
