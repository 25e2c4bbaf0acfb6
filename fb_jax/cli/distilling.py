"""``freebind export-space --distil``: one projector for every mixture, and what that loses."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fb_jax.banks import BankSet
from fb_jax.cli.tables import show_results
from fb_jax.console import ConsoleReporter
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, digest
from fb_jax.run import evaluation_banks
from fb_jax.run.distil import CLAIM, compare_distilled, distil
from fb_jax.training import Distilling


@dataclass(frozen=True)
class Distil:
    """One projector instead of seven."""

    distil: bool = False
    """Replace every mixture by one projector, trained on the pool to give the mixture's
    output, and print what that loses in retrieval (docs/distilling.md)."""

    distil_steps: int | None = None
    """Steps of training each such projector; by default 2000."""

    def settings(self) -> Distilling | None:
        """Return the settings that the options ask for; None if nothing is distilled."""
        if self.distil_steps is not None and not self.distil:
            raise FreeBindError("--distil-steps is of no use without --distil")
        if not self.distil:
            return None
        return Distilling() if self.distil_steps is None else Distilling(self.distil_steps)


def require_free(out: Path, space: FusedSpace) -> None:
    """Raise a FreeBindError unless a folder is free, or holds a space distilled from this one."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    origins: set[str] = set()
    with suppress(FreeBindError):
        stages = FusedSpace.load(out).stages
        origins = {bond.spec.distilled for stage in stages for bond in stage.bonds}
    if digest(space) not in origins:
        raise FreeBindError(
            "this folder holds something else",
            where=out,
            expected="no folder of this name, or the same space, distilled",
            fix="choose another --out; delete this one only if you do not need what it holds",
        )


def _checkpoints(out: Path) -> Path:
    """Return the folder that holds the checkpoints until a distilled space is written."""
    return out.with_name(f"{out.name}.distilling")


def remove_checkpoints(out: Path) -> None:
    """Remove the checkpoints of a distilled space that is written, and nothing else."""
    for claim in _checkpoints(out).glob(f"*/{CLAIM}"):
        shutil.rmtree(claim.parent, ignore_errors=True)
    with suppress(OSError):  # something else is in it
        _checkpoints(out).rmdir()


def distilled(
    space: FusedSpace, pool: BankSet, how: Distilling, out: Path
) -> tuple[FusedSpace, dict[str, Any]]:
    """Return a space with one projector for every mixture, and its figures beside those before.

    The figures (split to model to pair to metric) are printed. Without pairs there are none, and a
    line says so. Until ``out`` is written, checkpoints lie beside it: an interrupted command
    continues.
    """
    evaluation = evaluation_banks(space, Path(pool.split.path).parent, pool.split.name)
    for banks in evaluation.values():
        banks.verify()
    made = distil(space, pool, how, ConsoleReporter(), _checkpoints(out))
    results = compare_distilled(space, made, evaluation)
    show_results(results, made.title)
    if not results:
        print("no split with pairs is known, so nothing shows what distilling loses")
    return made, {split: result.to_dict() for split, result in results.items()}
