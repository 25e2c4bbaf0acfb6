"""The form of a bond: all that is needed to read its checkpoints, without pairs or banks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fb_jax.banks import files
from fb_jax.errors import FreeBindError
from fb_jax.numerics import Precision
from fb_jax.projector import DIRECTIONS, Bond, BondKind, Projector, Subset, Variables, subsets
from fb_jax.pseudo import PairSpec
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.settings import Training
from fb_jax.training.step import TrainState, init_state

BOND_FILE = "bond.json"


@dataclass(frozen=True)
class BondForm:
    """The shape of a bond: what its checkpoints hold, and so what is needed to read them.

    Attributes:
        kind: Its direction.
        unified: Name of the unified space.
        expert: Name of the expert space.
        shared: Modalities of the expert.
        members: The starts that each member is trained on.
        dim_in: Dimension of the source space.
        dim_out: Dimension of the target space.
        hidden: Width of the projectors.
        precision: Of the matrix products.
    """

    kind: BondKind
    unified: str
    expert: str
    shared: tuple[str, ...]
    members: tuple[Subset, ...]
    dim_in: int
    dim_out: int
    hidden: int
    precision: Precision

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that pairs start from."""
        return self.members[-1]

    @property
    def dim_fused(self) -> int:
        """Dimension of the fused space, uncut."""
        return self.dim_out + (self.dim_in if DIRECTIONS[self.kind].direct else 0)

    @property
    def projector(self) -> Projector:
        """The form of every member."""
        return Projector(self.dim_out, self.hidden, self.precision)

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> BondForm:
        """Return the form that ``dataclasses.asdict`` made this JSON from."""
        members = tuple(tuple(subset) for subset in form["members"])
        return cls(**{**form, "shared": tuple(form["shared"]), "members": members})

    def bond(self, variables: Variables) -> Bond:
        """Return the bond with these numbers."""
        return self._bond(jax.tree.map(jnp.asarray, variables))

    def outline(self) -> Bond:
        """Return the bond with shapes for numbers: it tells dimensions, and projects nothing."""
        return self._bond(jax.eval_shape(partial(self.first_state, 0)).variables)

    def _bond(self, variables: Variables) -> Bond:
        return Bond(
            kind=self.kind,
            unified=self.unified,
            expert=self.expert,
            shared=self.shared,
            modalities=self.modalities,
            members=self.members,
            projector=self.projector,
            variables=variables,
        )

    def first_state(self, seed: int) -> TrainState:
        """Return the state before the first step."""
        return init_state(
            jax.random.key(seed),
            projector=self.projector,
            dim=self.dim_in,
            members=len(self.members),
        )


def form_for(spec: PairSpec, kind: BondKind, how: Training) -> BondForm:
    """Return the form of the bond that these settings train on pairs of this spec."""
    direction, shared = DIRECTIONS[kind], spec.modalities("expert")
    return BondForm(
        kind=kind,
        unified=spec.unified,
        expert=spec.expert,
        shared=shared,
        members=subsets(spec.starts),
        dim_in=spec.dim((direction.source, shared[0])),
        dim_out=spec.dim((direction.target, shared[0])),
        hidden=how.hidden,
        precision=how.precision,
    )


def claim_folder(folder: Path, form: BondForm, how: Training, steps: int, pairs: str) -> None:
    """Mark a training folder as that of one training; see ``files.claim``.

    Args:
        folder: Of the training.
        form: Of its bond.
        how: Its settings, resolved.
        steps: Its length.
        pairs: Fingerprint of its pseudo pairs.
    """
    identity = {
        "format": "freebind-bond",
        "version": 1,
        "form": asdict(form),
        "training": asdict(how),
        "steps": steps,
        "pairs": pairs,
    }
    files.claim(folder / BOND_FILE, identity, "checkpoints")


def is_trained(folder: Path) -> bool:
    """Return whether a training folder holds a bond that is trained to its end."""
    claim = folder / BOND_FILE
    return claim.exists() and files.read_json(claim).get("steps") in _checkpoints(folder).steps()


def _checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "checkpoints")


def load_bond(folder: Path) -> Bond:
    """Read a trained bond from its training folder; neither pairs nor banks are needed.

    Raises:
        FreeBindError: There is none, its training is unfinished, or its checkpoint is damaged.
    """
    found = files.read_json(folder / BOND_FILE)
    try:
        form, last = BondForm.from_json(found["form"]), found["steps"]
    except (KeyError, TypeError) as error:
        raise FreeBindError(
            "this file tells of no bond", where=folder / BOND_FILE, got=repr(error)
        ) from error
    checkpoints = _checkpoints(folder)
    if last not in (steps := checkpoints.steps()):
        raise FreeBindError(
            "this bond is not trained to its end",
            where=folder,
            expected=f"a checkpoint of step {last}",
            got=f"checkpoints of steps {steps}",
            fix="run the training command again: it goes on where it stopped",
        )
    state, _ = checkpoints.restore(last, jax.eval_shape(partial(form.first_state, 0)))
    return form.bond(state.variables)
