"""Distilling a fused space: every mixture replaced by one projector [O]; equation (D1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from fb_jax import files
from fb_jax.banks import BankSet, unit_rows
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.evaluation import Results, evaluate
from fb_jax.fusion import FusedSpace, Stage, digest, fusable, sources
from fb_jax.projector import Bond
from fb_jax.run.reporter import Reporter, Silent
from fb_jax.training.checkpoint import Checkpoints
from fb_jax.training.distillation import Distilling, distil_bond

LOSS_METRICS = ("R@1", "R@5")
BEFORE = "before distilling"
CLAIM, NAME_DIGITS = "distilling.json", 12


def distil(
    space: FusedSpace,
    pool: BankSet,
    how: Distilling | None = None,
    reporter: Reporter | None = None,
    folder: Path | str | None = None,
) -> FusedSpace:
    """Return a fused space in which one projector stands for every mixture.

    Stages are distilled in order. A projector of a later stage sees the rows of the distilled
    stages before it; its targets are the mixture's outputs for the exact rows. Factors, presets,
    fills, routers and the basis of a cut stay; hub correction, fitted on other rows, does not.

    Args:
        space: The fused space. Bonds that have one projector already stay as they are.
        pool: All its native spaces over the split that it was trained on; no pairs are needed.
        how: Settings.
        reporter: Shows progress.
        folder: For checkpoints, so that an interrupted call continues: of this space, pool and
            settings get a folder of their own in it. None: nothing is written.

    Returns:
        The space, of the same name. ``BondSpec.distilled`` of its bonds is the digest of ``space``.

    Raises:
        FreeBindError: No bond has several projectors, a stage has ``unit_experts=False``, or the
            pool lacks rows that go through the projectors.
    """
    _require_mixtures(space)
    work = _Work(pool, how or Distilling(), digest(space), reporter or Silent(), folder)
    if space.hubs is not None:
        notice_once(f"{space.title}: hub correction was fitted on the mixtures' rows; left out")
    made = space = space.plain
    for number, stage in enumerate(space.stages):
        bonds = [work.bond(bond, number, space, made) for bond in stage.bonds]
        own = replace(stage, bonds=tuple(bonds))
        made = replace(made, stages=(*made.stages[:number], own, *made.stages[number + 1 :]))
    return made


def compare_distilled(
    space: FusedSpace, distilled: FusedSpace, evaluation: Mapping[str, BankSet]
) -> dict[str, Results]:
    """Return the figures of a space before and after distilling, at its factors, by split.

    Hub correction plays no part in them.

    Args:
        space: The space with mixtures.
        distilled: The space that ``distil`` returned.
        evaluation: Split to banks of all native spaces, with pairs.
    """
    points = {BEFORE: space.factors}, {distilled.title: distilled.factors}
    found = {}
    for split, banks in evaluation.items():
        before = evaluate(space.plain, banks, points[0], LOSS_METRICS)
        after = evaluate(distilled, banks, points[1], LOSS_METRICS)
        found[split] = replace(after, figures={**before.figures, **after.figures})
    return found


@dataclass(frozen=True)
class _Work:
    """What all bonds of a space are distilled with."""

    pool: BankSet
    how: Distilling
    origin: str
    reporter: Reporter
    folder: Path | str | None

    def bond(self, bond: Bond, number: int, space: FusedSpace, made: FusedSpace) -> Bond:
        """Return a bond of one projector for a bond of a stage.

        Args:
            bond: The mixture.
            number: Number of its stage, from 0.
            space: The space with mixtures.
            made: The space whose stages before this one are distilled.
        """
        if len(bond.members) == 1:
            return bond
        modalities = self._require_rows(bond, number, space)
        every = lambda of: np.concatenate(  # noqa: E731
            [self._rows(bond, number, of, m) for m in modalities]
        )
        rows, targets = every(made), lambda: bond.project(every(space))
        steps = len(self.how.schedule(len(rows)))
        task = self.reporter.task(f"distilling {bond.expert}", steps)
        with task as advance, self._checkpoints(bond, number) as kept:
            return distil_bond(bond, rows, targets, self.how, self.origin, advance, kept)

    @contextmanager
    def _checkpoints(self, bond: Bond, number: int) -> Iterator[Checkpoints | None]:
        """Lock and claim the folder of a bond's checkpoints, if there is to be one."""
        if self.folder is None:
            yield None
            return
        identity = {
            "format": "freebind-distilling",
            "version": 1,
            "space": self.origin,
            "stage": number,
            "expert": bond.expert,
            "settings": asdict(self.how),
            "banks": self.pool.fingerprints(),
        }
        folder = Path(self.folder) / files.sha256_of_json(identity)[:NAME_DIGITS]
        with files.locked(folder):
            claim = files.claim(folder / CLAIM, identity, "checkpoints")
            yield Checkpoints(folder / "checkpoints", claim)

    def _rows(
        self, bond: Bond, number: int, space: FusedSpace, modality: str
    ) -> Float32[np.ndarray, "n d"]:
        """Return the unit rows of a modality that go through the projectors of a stage's bond."""
        some = slice(None, None, -(-len(self.pool.rows[modality]) // self.how.most_rows))
        if number and bond.direction.source == "unified":
            base = replace(space, stages=space.stages[:number])
            return unit_rows(base.fuse(modality, sources(base, self.pool, modality, some)))
        name = bond.unified if bond.direction.source == "unified" else bond.expert
        return unit_rows(self.pool[name, modality][some])

    def _require_rows(self, bond: Bond, number: int, space: FusedSpace) -> list[str]:
        """Return the modalities that go through the projectors of a stage's bond.

        Raises:
            FreeBindError: The pool lacks a native space of one of them.
        """
        passing = list(_passing(bond, space.stages[number:]))
        here = fusable(space, self.pool)
        if lacking := [m for m in passing if m not in here]:
            raise FreeBindError(
                "the pool lacks rows that go through these projectors",
                where=f"{bond.kind} of {bond.expert} and {bond.unified}",
                expected="; ".join(f"{m} of {', '.join(space.spaces_of(m))}" for m in lacking),
                got=", ".join("/".join(key) for key in self.pool.banks),
            )
        return passing


def _passing(bond: Bond, stages: tuple[Stage, ...]) -> Iterator[str]:
    """Yield the modalities that go through a bond of the first of some stages.

    Those that tuned rows replace here or later do not.
    """
    side = bond.direction.source
    tuned = {modality for stage in stages for modality in stage.tuned_rows}
    own = bond.spec.unified_modalities if side == "unified" else bond.shared
    yield from (m for m in own if m not in tuned)


def _require_mixtures(space: FusedSpace) -> None:
    """Raise a FreeBindError unless mixtures can be replaced."""
    bonds = [bond for stage in space.stages for bond in stage.bonds]
    if all(len(bond.members) == 1 for bond in bonds):
        raise FreeBindError(
            "nothing to distil: every bond has one projector already",
            where=space.title,
            expected="a mixture of several projectors, as combinations, displacements and direct"
            " sums have",
            got="; ".join(f"{bond.kind} of {bond.expert} and {bond.unified}" for bond in bonds),
            fix="leave out --distil",
        )
    if not all(getattr(stage, "unit_experts", True) for stage in space.stages):
        raise FreeBindError(
            "the length of a mixture's mean counts here, and one projector gives unit rows",
            where=space.title,
            expected="stages that normalise their experts",
            got="unit_experts: false",
        )
