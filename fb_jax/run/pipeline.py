"""A run from banks to results, and its folder, which explains itself.

run.json          what tells this run from others
config.yaml       every option, resolved
provenance.json   versions, device, bank fingerprints
basis.npy         directions that a direct sum was cut to
bond/             checkpoints, metrics.jsonl, tensorboard/
metrics.json      results
losses.png, sweep.png
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from fb_jax.banks import Bank, BankSet, Encoder, Split, files, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Metrics, evaluate, plot_losses, plot_sweep, sweep
from fb_jax.fusion import Factors, FusedSpace, presets_for
from fb_jax.projector import Bond
from fb_jax.pseudo import build_pairs
from fb_jax.run.config import RunConfig
from fb_jax.run.device import select_device
from fb_jax.run.preflight import Job, preflight
from fb_jax.training import is_trained, load_bond, read_log, train_bond

BASIS = "basis.npy"
PACKAGES = ("freebind-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
Advance = Callable[..., None]


@runtime_checkable
class Reporter(Protocol):
    """Shows how long work goes."""

    def task(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Return a context for one stage; call what it gives with the units just done."""


class Silent:
    """Shows nothing."""

    def task(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Return a context whose advance does nothing."""
        return contextlib.nullcontext(lambda *_: None)


def prepare(config: RunConfig, reporter: Reporter) -> Job:
    """Run every check; see ``preflight``."""
    with reporter.task("checking the banks", 0) as advance:
        return preflight(config, advance)


def train(job: Job, reporter: Reporter) -> Bond:
    """Build the pseudo pairs and train the bond, or go on with either.

    Args:
        job: From ``preflight``.
        reporter: Shows how it goes.

    Returns:
        The trained bond.
    """
    config, folder = job.config, job.config.folder / "bond"
    _write_head(job)
    if is_trained(folder):
        return load_bond(folder)
    with reporter.task("pseudo pairs", sum(map(len, job.spec.ranges.values()))) as advance:
        resident = config.runtime.resident_bytes
        pairs = build_pairs(job.spec, job.pairs_folder, resident_bytes=resident, progress=advance)
    with reporter.task("checking the pairs", 0) as advance:
        pairs.verify(advance)
    with reporter.task("training", len(job.schedule)) as advance:
        how, runtime = config.training, config.runtime
        return train_bond(pairs, config.bond, folder, how, runtime, advance)


def _write_head(job: Job) -> None:
    folder = job.config.folder
    files.claim(folder / "run.json", job.identity(), "results")
    text = yaml.safe_dump(job.config.to_dict(), sort_keys=False)
    files.write_atomic(folder / "config.yaml", lambda file: file.write(text.encode()))
    provenance = folder / "provenance.json"
    began = files.read_json(provenance) if provenance.exists() else _origin(job)
    banks = {job.config.pool: job.spec.banks.fingerprints()} | {
        name: banks.fingerprints() | banks.pair_fingerprints()
        for name, banks in job.evaluation.items()
    }
    read = {
        "data": str(job.config.data.absolute()),
        "banks": banks,
        "evaluation": list(job.evaluation),
    }
    files.write_json(provenance, began | read)


def _origin(job: Job) -> dict[str, Any]:
    """Return what the process that begins a training is: a later one does not change it."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(select_device(job.config.device)),
    }


def report(job: Job, bond: Bond, reporter: Reporter) -> dict[str, Metrics]:
    """Evaluate a bond on every split that has pairs; write ``metrics.json`` and ``sweep.png``.

    The sweep shows the split ``val`` if there is one: factors are not chosen on test.

    Args:
        job: From ``preflight``.
        bond: Trained.
        reporter: Shows how it goes.

    Returns:
        Split to model to pair to metric.
    """
    space = _cut(job, default_space(bond), reporter)
    with reporter.task("evaluation", len(job.evaluation)) as advance:
        results = {}
        advance(0)
        for name, banks in job.evaluation.items():
            results[name] = evaluate(space, banks)
            advance(1)
    folder = job.config.folder
    files.write_json(folder / "metrics.json", {"retrieval": results})
    plot_losses(read_log(folder / "bond" / "metrics.jsonl"), folder / "losses.png")
    if job.evaluation:
        split = "val" if "val" in job.evaluation else next(iter(job.evaluation))
        with reporter.task("factor sweep", 0) as advance:
            swept = sweep(space, job.evaluation[split], progress=advance)
        title = f"{bond.kind} of {bond.expert} and {bond.unified}, split {split}"
        plot_sweep(swept, presets_for(space), title, folder / "sweep.png")
    return results


def _cut(job: Job, space: FusedSpace, reporter: Reporter) -> FusedSpace:
    """Cut a direct sum if that was asked for, and keep the basis."""
    path, dim = job.config.folder / BASIS, job.config.dim
    if dim is None:
        path.unlink(missing_ok=True)
        return space
    with reporter.task(f"cut to {dim} dimensions", 0):
        cut = space.cut(dim, job.spec.banks)
    assert cut.basis is not None
    files.write_npy(path, cut.basis)
    return cut


def default_space(*bonds: Bond, base: FusedSpace | None = None) -> FusedSpace:
    """Return the fused space at the first preset of the experts' kind."""
    halfway = FusedSpace.halfway(*bonds, base=base)
    return replace(halfway, factors=next(iter(presets_for(halfway).values())))


class Run:
    """A finished run folder.

    Args:
        folder: Of the run.

    Raises:
        FreeBindError: It is no run folder, or its training is unfinished.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "run.json").exists():
            raise FreeBindError(
                "this is no run folder",
                where=folder,
                expected="a folder that train.py wrote, with run.json",
            )
        self.folder = folder
        self.provenance: dict[str, Any] = files.read_json(folder / "provenance.json")
        self.bond = load_bond(folder / "bond")

    @property
    def space(self) -> FusedSpace:
        """The fused space of its bond, at the first preset that fits; cut if the run was."""
        space, path = default_space(self.bond), self.folder / BASIS
        return (
            replace(space, basis=files.read_npy(path, "the basis of a cut"))
            if path.exists()
            else space
        )

    @property
    def data(self) -> Path:
        """The bank root that it was trained on."""
        return Path(self.provenance["data"])

    @property
    def pool(self) -> str:
        """The split that it was trained on."""
        return next(name for name in self.provenance["banks"] if name not in self.splits)

    def encoders(self) -> dict[str, Encoder]:
        """Return space to what made its banks, by their word; banks that are gone say nothing."""
        root, found = self.data, {}
        for split, banks in self.provenance["banks"].items():
            for space, modality in (key.split("/") for key in banks if "pairs/" not in key):
                folder = Split(root / split).bank_path(space, modality)
                if folder.is_dir():
                    found[space] = Bank.open(folder).encoder
        return found

    def open_banks(self, split: str, data: Path | None = None) -> BankSet:
        """Open both spaces' banks of a split.

        Args:
            split: Name of the split.
            data: Bank root; None takes the one that the run was trained on.

        Raises:
            FreeBindError: They are damaged or, unless ``data`` is given, not those that the run
                recorded.
        """
        root = data or self.data
        banks = open_banks(root, split, spaces=(self.bond.unified, self.bond.expert))
        recorded = self.provenance["banks"].get(split, {})
        here = banks.fingerprints() | banks.pair_fingerprints()
        changed = [name for name, digest in recorded.items() if here.get(name) != digest]
        if data is None and changed:
            raise FreeBindError(
                "the banks have changed since this run read them",
                where=banks.split.path,
                expected="the fingerprints in provenance.json",
                got=f"others for {', '.join(changed)}",
                fix=f"restore them, or use them as they are now with --data {root}",
            )
        banks.verify()
        return banks

    @property
    def splits(self) -> list[str]:
        """The evaluation splits that the run recorded."""
        return self.provenance["evaluation"]

    def evaluate(
        self, split: str, points: Mapping[str, Factors] | None = None, data: Path | None = None
    ) -> Metrics:
        """Evaluate the run's bond on a split; see ``fb_jax.evaluation.evaluate``."""
        return evaluate(self.space, self.open_banks(split, data), points)
