"""The folder of a run, which explains itself.

run.json          what distinguishes this run from others
config.yaml       every option, resolved
provenance.json   versions, device, data, bank fingerprints, digests of the metrics
basis.npy         directions to which a direct sum is cut; basis.json: its digest and its space
bond/             checkpoints, metrics.jsonl, tensorboard/
metrics.json      results
hubs-DIGEST.safetensors    references of the hub correction, if one was chosen
losses.png, sweep.png, queries.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.banks import Bank, BankSet, Encoder, Split, open_banks
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.evaluation import Results, evaluate
from fb_jax.fusion import Factors, FusedSpace, digest, with_basis
from fb_jax.projector import Bond
from fb_jax.run.choosing import Chosen, Validation
from fb_jax.run.hubs import corrected_sources
from fb_jax.run.metrics import read_chosen, read_correction, read_validation
from fb_jax.run.provenance import read_provenance, require_unchanged, tell_pool
from fb_jax.training import load_bond
from fb_jax.training.bond_folder import BOND_FILE, BondClaim


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

    def require_own_bond(self) -> None:
        """Raise a FreeBindError if the bond, when there is one, is not the one of this run."""
        claim = self.bond / BOND_FILE
        if not claim.exists():
            return
        run, bond = files.read_json(self.marker, dict[str, Any]), files.read_json(claim, BondClaim)
        wanted = {"training": run.get("training"), "kind": run.get("bond")}
        wanted["spec"] = files.sha256_of_json(run.get("pairs")) if bond.spec else ""
        found = {"training": bond.training, "kind": bond.form.get("kind"), "spec": bond.spec}
        if found != wanted:
            here, asked = files.differences(found, wanted)
            raise FreeBindError(
                "this run folder holds the bond of another run",
                where=self.bond,
                expected=asked,
                got=here,
                fix="restore the folder bond of this run",
            )

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
        self.paths.require_own_bond()
        self.provenance = read_provenance(self.paths.provenance, self.paths.marker)
        self.bond: Bond = load_bond(self.paths.bond)

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.paths.folder

    @property
    def space(self) -> FusedSpace:
        """The fused space of its bond, cut if the run was, as it was chosen on validation pairs.

        Without chosen factors it is at the first preset that fits.
        """
        chosen, space = self.chosen, self._preset_space
        at = space.choosing(chosen.factors) if chosen else space
        return replace(at, hubs=read_correction(self.paths.metrics, at))

    @property
    def chosen(self) -> Chosen | None:
        """The factors that were chosen, and how; a notice says if its results are missing."""
        if not self.paths.metrics.exists():
            notice_once(
                f"{self.folder}: no metrics.json, so its factors are those of the preset; "
                "freebind train with the same options chooses and evaluates again"
            )
        return read_chosen(self.paths.metrics, self._preset_space)

    @property
    def validation(self) -> Validation | None:
        """The pairs that something was chosen on; None if nothing says it."""
        return read_validation(self.paths.metrics, self._preset_space)

    @property
    def _preset_space(self) -> FusedSpace:
        space = FusedSpace.of(self.bond)
        if self.provenance.dim is None:
            return space
        if (basis := self.paths.kept_basis(space)) is None:
            raise FreeBindError(
                "the basis of a cut is missing",
                where=self.paths.basis,
                fix="run freebind train again: it fits the same one",
            )
        return with_basis(space, basis)

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
                key.split("/") for key in banks if not key.startswith(("pairs/", "items/"))
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
        if data is None:
            fix = f"restore them, or use them as they are now with --data {root}"
            require_unchanged(self.provenance.banks.get(split, {}), banks, fix)
            tell_pool(self.provenance, (self.bond.unified, self.bond.expert))
        banks.verify()
        return banks

    def evaluate(
        self,
        split: str,
        points: Mapping[str, Factors] | None = None,
        data: Path | str | None = None,
    ) -> Results:
        """Evaluate the run's bond on a split; see ``fb_jax.evaluation.evaluate``.

        What a hub-corrected space is compared with is also there corrected.
        """
        space, opened = self.space, lambda name: self.open_banks(name, data)
        root = Path(data or self.data)
        beside = corrected_sources(space, root, self.pool, self.validation, opened)
        return evaluate(space, opened(split), points, beside=beside)


def open_pool(runs: Sequence[Run], space: FusedSpace) -> BankSet:
    """Open all native spaces of a space over the pool of its runs, verified.

    Raises:
        FreeBindError: Banks are damaged or are not the ones that a run recorded.
    """
    for run in runs:
        run.open_banks(run.pool)
    pool = open_banks(runs[0].data, runs[0].pool, spaces=space.spaces)
    pool.verify()
    return pool
