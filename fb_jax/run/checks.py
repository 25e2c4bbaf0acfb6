"""Everything that can be checked before long work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fb_jax import files
from fb_jax.banks import BankSet, Progress, no_progress, open_banks, open_split, since, splits
from fb_jax.banks.bankset import NothingShared
from fb_jax.errors import FreeBindError, require_range
from fb_jax.evaluation.metrics import require_metric
from fb_jax.evaluation.models import can_evaluate, pair_tables
from fb_jax.evaluation.surfaces.choosing import Aim
from fb_jax.fusion import FusedSpace
from fb_jax.limits import address_space, require_address_space
from fb_jax.numerics import require_supported
from fb_jax.projector import Bond, BondSpec
from fb_jax.pseudo import PairSpec
from fb_jax.run.choosing import NONE, parted
from fb_jax.run.device import computing_on
from fb_jax.run.estimate import estimate
from fb_jax.run.folder import RunPaths
from fb_jax.run.naming import named
from fb_jax.run.options import RunConfig
from fb_jax.training import Schedule, describe_bond, require_loggers
from fb_jax.training.loss import require_loss

PAIRS_NAME_DIGITS = 12


@dataclass(frozen=True)
class Job:
    """A run that has passed every check.

    Attributes:
        config: Resolved options.
        pairs: Specification of the pseudo pairs.
        bond: Description of the bond.
        schedule: The steps of the training.
        evaluation: Split to both spaces' banks, for every split that can be evaluated.
        left_out: Split to the reason why it cannot.
    """

    config: RunConfig
    pairs: PairSpec
    bond: BondSpec
    schedule: Schedule
    evaluation: dict[str, BankSet]
    left_out: dict[str, str]

    @property
    def paths(self) -> RunPaths:
        """The paths of the run folder."""
        return RunPaths(self.config.folder)

    @property
    def pairs_folder(self) -> Path:
        """The folder of the pseudo pairs, named by what they are computed from."""
        digest = files.sha256_of_json(self.pairs.identity())[:PAIRS_NAME_DIGITS]
        return self.config.store / f"{self.pairs.unified}-{self.pairs.expert}-{digest}"

    def identity(self) -> dict[str, object]:
        """Return what distinguishes this run from others, as JSON."""
        return {
            "format": "freebind-run",
            "version": 1,
            "bond": self.config.bond,
            "training": self.config.training.identity(),
            "pairs": self.pairs.identity(),
        }


def preflight(config: RunConfig, progress: Progress = no_progress) -> Job:
    """Check everything that can be checked before long work.

    Args:
        config: The run.
        progress: Called with the number of bank rows just verified.

    Returns:
        The run, ready.

    Raises:
        FreeBindError: The first thing that is wrong.
    """
    files.require_path(config.data)
    config = named(config)
    config = replace(config, out=config.folder)
    _require_choosing(config)
    for path in (config.folder, config.store):
        files.require_path(path)
    with computing_on(config.device):
        require_supported(config.pairs.precision, config.training.precision)
    require_loss(config.training.loss)
    require_loggers(config.runtime.loggers)
    for name in config.metrics:
        require_metric(name)
    banks = open_banks(config.data, config.pool, spaces=config.spaces)
    pairs = PairSpec(banks, *config.spaces, config.pairs)
    config = replace(config, training=config.training.resolved(config.bond, pairs.ranges))
    own = config.training
    bond = describe_bond(pairs, config.bond, own.hidden, own.pipeline)
    schedule = own.schedule(bond, pairs.ranges)
    space = FusedSpace.of(Bond(bond))
    _require_dim(config, space)
    job = Job(config, pairs, bond, schedule, *_evaluation_splits(config, space, banks))
    _require_room(job)
    _require_aim(job, space)
    for bank_set in (banks, *job.evaluation.values()):
        bank_set.verify(progress)
    return job


def _require_choosing(config: RunConfig) -> None:
    if config.choose != NONE:
        Aim.parse(config.choose)
    if config.val_fraction is not None:
        require_range("choosing", 0.05, 0.95, val_fraction=config.val_fraction)


def _require_aim(job: Job, space: FusedSpace) -> None:
    """Raise a FreeBindError if factors cannot be chosen on the evaluation splits as asked."""
    how = job.config.choosing
    sets, val = parted(job.evaluation, how)
    if val and how.aim != NONE:
        known = map("-".join, pair_tables(space.modalities, sets[val.on]))
        Aim.parse(how.aim).require_among(known, f"the pairs of {val.on}")


def _require_room(job: Job) -> None:
    """Raise a FreeBindError unless the folders, the disks and the memory suffice."""
    config = job.config
    for folder in (config.folder, config.store):
        files.require_writable(folder)
    _require_own_folder(job)
    needs = estimate(job.pairs, job.bond, job.schedule)
    held = min(needs.table_memory, config.runtime.resident_bytes)
    require_address_space(address_space(computes=True) + needs.step_memory + held)
    files.require_space(
        {
            config.store: needs.pairs_disk - files.folder_bytes(job.pairs_folder),
            config.folder: needs.checkpoints_disk - files.folder_bytes(job.paths.bond),
        }
    )


def _require_dim(config: RunConfig, space: FusedSpace) -> None:
    if config.dim is None:
        return
    if config.bond != "direct_sum":
        raise FreeBindError(
            "only a direct sum can be cut",
            expected="--bond direct_sum",
            got=f"--bond {config.bond} --dim {config.dim}",
        )
    if not 0 < config.dim < space.dim:
        raise FreeBindError(
            "a direct sum cannot be cut to this",
            expected=f"1 to {space.dim - 1} dimensions",
            got=config.dim,
            fix="leave --dim out to keep all",
        )
    basis = RunPaths(config.folder).basis
    kept = files.open_npy(basis, "the basis of a cut") if basis.exists() else None
    if kept is not None and kept.shape[1:] != (config.dim,):
        raise FreeBindError(
            "this run is cut to other dimensions",
            where=config.folder,
            expected=f"{config.dim} dimensions",
            got=f"{kept.shape[1:]} dimensions",
            fix="choose another --out",
        )


def _evaluation_splits(
    config: RunConfig, space: FusedSpace, pool: BankSet
) -> tuple[dict[str, BankSet], dict[str, str]]:
    """Open the splits that can be evaluated; for the others, say why not."""
    usable, left_out = {}, {}
    for name in splits(config.data):
        if name == config.pool:
            continue
        known = open_split(config.data, name).spaces()
        lacking = [owner for owner in space.spaces if owner not in known]
        if lacking:
            left_out[name] = f"no {' and no '.join(lacking)}"
            continue
        try:
            banks = open_banks(config.data, name, spaces=space.spaces)
        except NothingShared as error:
            left_out[name] = str(error).splitlines()[0]
            continue
        _require_dims(banks, pool)
        if can_evaluate(space, banks):
            usable[name] = banks
        else:
            left_out[name] = "no pairs between modalities that can be fused"
    return usable, left_out


def _require_dims(banks: BankSet, pool: BankSet) -> None:
    for space in dict.fromkeys(owner for owner, _ in pool.banks):
        if banks.dim(space) != pool.dim(space):
            raise FreeBindError(
                "a space has another dimension than in the pool",
                where=f"{banks.split.path}/embeddings/{space}",
                expected=pool.dim(space),
                got=banks.dim(space),
                fix="both must come from the same encoder: export or import them again",
            )


def _require_pool(job: Job) -> None:
    """Raise a FreeBindError if the pool has grown, or lost items, since the run was begun."""
    claim = files.read_json(job.paths.marker, dict[str, Any])
    grown, changed = since(claim.get("pairs", {}).get("banks", {}), job.pairs.banks)
    if grown and not changed:
        raise FreeBindError(
            "the pool is not the one that this run was trained on: it has changed since",
            where=job.config.folder,
            expected="the same items",
            got=f"trained on {', and '.join(grown)}",
            fix="choose another --out to train on the pool as it is now; "
            "freebind eval and freebind fuse go on with this run",
        )


def _require_own_folder(job: Job) -> None:
    if job.paths.marker.exists():
        _require_pool(job)
        files.require_claim(job.paths.marker, job.identity(), "results")
        return
    files.require_unclaimed(job.paths.marker, "results")
