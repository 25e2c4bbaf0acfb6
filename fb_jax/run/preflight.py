"""Before long work: everything that can be checked, and what the work will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fb_jax.banks import BankSet, Progress, files, no_progress, open_banks, open_split, splits
from fb_jax.errors import FreeBindError
from fb_jax.evaluation.models import pair_tables
from fb_jax.fusion import fusable
from fb_jax.projector import DIRECTIONS
from fb_jax.pseudo import PairSpec
from fb_jax.run.config import RunConfig
from fb_jax.run.device import select_device
from fb_jax.run.estimate import estimate
from fb_jax.training import BondForm, Schedule, form_for

PAIRS_NAME_DIGITS = 12


@dataclass(frozen=True)
class Job:
    """A run that has passed every check.

    Attributes:
        config: Resolved.
        spec: The pseudo pairs.
        form: What is trained.
        schedule: The steps of training.
        evaluation: Split name to both spaces' banks, for every split that can be evaluated.
        left_out: Split name to why it cannot.
    """

    config: RunConfig
    spec: PairSpec
    form: BondForm
    schedule: Schedule
    evaluation: dict[str, BankSet]
    left_out: dict[str, str]

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
    form = form_for(spec, config.bond, config.training)
    _require_dim(config, form)
    job = Job(config, spec, form, schedule, *_evaluation_splits(config, form, banks))
    for folder in (config.folder, config.store):
        files.require_writable(folder)
    _require_own_folder(job)
    needs, bond_folder = estimate(spec, form, schedule), config.folder / "bond"
    files.require_space(
        {
            config.store: needs.pairs_disk - files.folder_bytes(job.pairs_folder),
            config.folder: needs.checkpoints_disk - files.folder_bytes(bond_folder),
        }
    )
    for bank_set in (banks, *job.evaluation.values()):
        bank_set.verify(progress)
    return job


def _require_precision(config: RunConfig) -> None:
    on_cpu = select_device(config.device).platform == "cpu"
    if on_cpu and "tf32" in (config.pairs.precision, config.training.precision):
        raise FreeBindError("tf32 needs a GPU", got="precision tf32 on a CPU", fix="use float32")


def _require_dim(config: RunConfig, form: BondForm) -> None:
    if config.dim is None:
        return
    if not DIRECTIONS[form.kind].direct:
        raise FreeBindError(
            "only a direct sum can be cut",
            expected="--bond direct_sum",
            got=f"--bond {form.kind} --dim {config.dim}",
        )
    if not 0 < config.dim < form.dim_fused:
        raise FreeBindError(
            "a direct sum cannot be cut to this",
            expected=f"1 to {form.dim_fused - 1} dimensions",
            got=config.dim,
            fix="leave --dim out to keep all",
        )


def _evaluation_splits(
    config: RunConfig, form: BondForm, pool: BankSet
) -> tuple[dict[str, BankSet], dict[str, str]]:
    """Open the splits that can be evaluated; of the others, say why not."""
    usable, left_out = {}, {}
    for name in splits(config.data):
        if name == config.pool:
            continue
        known = open_split(config.data, name).spaces()
        lacking = [space for space in (config.unified, config.expert) if space not in known]
        if lacking:
            left_out[name] = f"no {' and no '.join(lacking)}"
            continue
        banks = open_banks(config.data, name, spaces=(config.unified, config.expert))
        _require_dims(banks, pool)
        fused = set(fusable([form], banks))
        if any(fused.issuperset(pair) for pair in pair_tables(form.modalities, banks)):
            usable[name] = banks
        else:
            left_out[name] = "no pairs between modalities that can be fused"
    return usable, left_out


def _require_dims(banks: BankSet, pool: BankSet) -> None:
    for space in dict.fromkeys(owner for owner, _ in pool.banks):
        if banks.dim(space) != pool.dim(space):
            raise FreeBindError(
                "a space has another dimension than in the pool",
                where=banks.split.path / "embeddings" / space,
                expected=pool.dim(space),
                got=banks.dim(space),
                fix="both must come from the same encoder: export or import them again",
            )


def _require_own_folder(job: Job) -> None:
    marker = job.config.folder / "run.json"
    if marker.exists():
        files.claim(marker, job.identity(), "results")
        return
    folder = job.config.folder
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in found if not name.endswith(".partial")]:
        raise FreeBindError(
            "the run folder holds something else",
            where=folder,
            expected="no such folder, an empty one, or one of the same run",
            got=", ".join(foreign[:5]),
            fix="choose another --out",
        )
