"""The folder of a training: what it claims to hold, and the trained bond read from it.

FOLDER/bond.json        description of the bond, settings, steps, fingerprint of the pairs
FOLDER/checkpoints/     see ``fb_jax.training.checkpoint``
FOLDER/metrics.jsonl    losses and speed; see ``fb_jax.training.log``
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Count
from fb_jax.numerics import single_precision
from fb_jax.projector import Bond, BondSpec
from fb_jax.pseudo import PairSet
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.settings import Training
from fb_jax.training.step import TrainState, init_state

BOND_FILE = "bond.json"


def first_state(spec: BondSpec, seed: int) -> TrainState:
    """Return the state before the first step."""
    return init_state(spec, jax.random.key(seed))


def claim_folder(
    folder: Path, spec: BondSpec, training: Training, steps: int, pairs: PairSet
) -> str:
    """Mark a folder as that of one training; return the digest of its claim, see ``files.claim``.

    Args:
        folder: The training folder.
        spec: Description of the bond.
        training: Settings, resolved.
        steps: Steps of the whole training.
        pairs: The pseudo pairs.
    """
    identity = {
        "format": "freebind-bond",
        "version": 1,
        "form": spec.to_json(),
        "training": training.identity(),
        "steps": steps,
        "pairs": pairs.fingerprint(),
        "spec": files.sha256_of_json(pairs.spec.identity()),
    }
    return files.claim(folder / BOND_FILE, identity, "checkpoints")


def checkpoints_of(folder: Path, claim: str) -> Checkpoints:
    """Return the checkpoints of a training folder; ``claim`` is the digest of its claim."""
    return Checkpoints(folder / "checkpoints", claim)


@dataclass(frozen=True)
class BondClaim:
    """What is read of ``bond.json``; earlier versions have no ``spec``.

    Attributes:
        form: The description of the bond.
        steps: Steps of the whole training.
        training: The settings.
        spec: Digest of the specification of the pseudo pairs.
    """

    form: dict[str, Any]
    steps: Count
    training: dict[str, Any] = field(default_factory=dict)
    spec: str = ""


def is_trained(folder: Path | str) -> bool:
    """Return whether a training folder holds a bond that is trained to its end."""
    claim = Path(folder) / BOND_FILE
    if not claim.exists():
        return False
    last = files.read_json(claim, BondClaim).steps
    return last in checkpoints_of(claim.parent, "").steps()


@single_precision()
def load_bond(folder: Path | str) -> Bond:
    """Read a trained bond from its training folder; neither pairs nor banks are needed.

    Raises:
        FreeBindError: There is none, its training is unfinished, or its checkpoint is damaged.
    """
    folder = Path(folder)
    identity, where = files.read_json(folder / BOND_FILE, dict[str, Any]), folder / BOND_FILE
    claim = files.convert(identity, BondClaim, where, "not the description of a bond")
    spec, last = BondSpec.from_json(claim.form, where), claim.steps
    digest = files.sha256_of_json(identity) if claim.spec else ""  # an earlier version
    checkpoints = checkpoints_of(folder, digest)
    if last not in (steps := checkpoints.steps()):
        raise FreeBindError(
            "this bond is not trained to its end",
            where=folder,
            expected=f"a checkpoint of step {last}",
            got=f"checkpoints of steps {steps}",
            fix="run the training command again: it continues where it stopped",
        )
    state, _ = checkpoints.restore(last, jax.eval_shape(partial(first_state, spec, 0)))
    return Bond(spec, jax.tree.map(jnp.asarray, state.variables))
