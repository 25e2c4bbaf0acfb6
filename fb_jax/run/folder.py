"""The folder of a run, which explains itself.

run.json          what distinguishes this run from others
config.yaml       every option, resolved
provenance.json   versions, device, data, bank fingerprints, digests of the metrics
basis.npy         directions to which a direct sum is cut; basis.json: its digest, and of what
bond/             checkpoints, metrics.jsonl, tensorboard/
metrics.json      results
losses.png, sweep.png
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fb_jax import files
from fb_jax.banks import POOL, Bank, BankSet, Encoder, Split, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Results, evaluate
from fb_jax.fusion import Factors, FusedSpace, digest, with_basis
from fb_jax.projector import Bond
from fb_jax.training import load_bond


@dataclass(frozen=True)
class RunPaths:
    """The paths of a run folder."""

    folder: Path

    marker = property(lambda self: self.folder / "run.json", doc="The run's identity.")
    config = property(lambda self: self.folder / "config.yaml", doc="Every option.")
    provenance = property(lambda self: self.folder / "provenance.json", doc="Versions, banks.")
    basis = property(lambda self: self.folder / "basis.npy", doc="Directions of a cut.")
    bond = property(lambda self: self.folder / "bond", doc="The training folder.")
    metrics = property(lambda self: self.folder / "metrics.json", doc="Results.")
    losses = property(lambda self: self.folder / "losses.png", doc="A picture.")
    sweep = property(lambda self: self.folder / "sweep.png", doc="A picture.")

    @property
    def is_product(self) -> bool:
        """Whether the folder is that of a product."""
        return (self.folder / "product.json").exists()

    def kept_basis(self, space: FusedSpace) -> np.ndarray | None:
        """Return the basis that the run was cut to; None if there is none.

        Raises:
            FreeBindError: It is damaged, or was fitted on another space.
        """
        if not self.basis.exists():
            return None
        fix = f"delete {self.basis} and basis.json: freebind train fits it again"
        about = {"space": digest(space)}
        return files.read_recorded(self.basis, "the basis of a cut", about, fix)


@dataclass(frozen=True)
class Provenance:
    """What is read of provenance.json; a product has data alone."""

    data: str
    banks: dict[str, dict[str, str]] = field(default_factory=dict)
    evaluation: list[str] = field(default_factory=list)
    dim: int | None = None

    @property
    def pool(self) -> str:
        """The split that was trained on."""
        return next(iter(set(self.banks) - set(self.evaluation)), POOL)


class Run:
    """A finished run.

    Args:
        folder: Its folder.

    Raises:
        FreeBindError: It is no run folder, or its training is unfinished.
    """

    def __init__(self, folder: Path | str) -> None:
        self.paths = RunPaths(Path(folder))
        if not self.paths.marker.exists():
            raise FreeBindError(
                "not a run folder",
                where=folder,
                expected="the folder of one bond's run, with run.json",
                fix=f"its fused space is {folder}/space" if self.paths.is_product else None,
            )
        self.provenance = files.read_json(self.paths.provenance, Provenance)
        self.bond: Bond = load_bond(self.paths.bond)

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.paths.folder

    @property
    def space(self) -> FusedSpace:
        """The fused space of its bond, at the first preset that fits; cut if the run was."""
        space = FusedSpace.of(self.bond)
        basis = self.paths.kept_basis(space) if self.provenance.dim else None
        return space if basis is None else with_basis(space, basis)

    @property
    def data(self) -> Path:
        """The bank root that it was trained on."""
        return Path(self.provenance.data)

    @property
    def splits(self) -> list[str]:
        """The evaluation splits that it recorded."""
        return self.provenance.evaluation

    @property
    def pool(self) -> str:
        """The split that it was trained on."""
        return self.provenance.pool

    def encoders(self) -> dict[str, Encoder]:
        """Return space to what computed its banks; spaces whose banks are gone are left out."""
        encoders = {}
        for split, banks in self.provenance.banks.items():
            for space, modality in (
                key.split("/") for key in banks if not key.startswith("pairs/")
            ):
                folder = Split(self.data / split).bank_path(space, modality)
                if folder.is_dir():
                    encoders[space] = Bank.open(folder).encoder
        return encoders

    def open_banks(self, split: str, data: Path | str | None = None) -> BankSet:
        """Open both spaces' banks of a split, verified.

        Args:
            split: Name of the split.
            data: Bank root; None: the one that the run was trained on.

        Raises:
            FreeBindError: They are damaged or, without ``data``, are not the ones that the run
                recorded.
        """
        root = Path(data or self.data)
        banks = open_banks(root, split, spaces=(self.bond.unified, self.bond.expert))
        recorded = self.provenance.banks.get(split, {})
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

    def evaluate(
        self,
        split: str,
        points: Mapping[str, Factors] | None = None,
        data: Path | str | None = None,
    ) -> Results:
        """Evaluate the run's bond on a split; see ``fb_jax.evaluation.evaluate``."""
        return evaluate(self.space, self.open_banks(split, data), points)
