"""Making the rows of an ablation: every product once, and what a dry run says of its bonds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace
from fb_jax.projector import PipelineName
from fb_jax.run.ablation import Planned
from fb_jax.run.bond import prepare
from fb_jax.run.checks import Job
from fb_jax.run.estimate import estimate
from fb_jax.run.options import RunConfig
from fb_jax.run.product import Announce, bond_runs, make_product, plan_product
from fb_jax.run.recipe import Product
from fb_jax.run.reporter import Reporter
from fb_jax.training import is_trained

FREEBIND: PipelineName = "freebind"
Model = FusedSpace | str
"""A fused space at its factors, or the name of a native space."""


def config_for(planned: Planned, config: RunConfig) -> RunConfig:
    """Return the options that a row's product is made with.

    Bonds of another pipeline are other bonds, in a folder of their own.
    """
    named, pipeline = replace(config, product=planned.key[0], out=config.home), planned.row.pipeline
    if pipeline is None:
        return named
    training = replace(config.training, pipeline=pipeline)
    home = config.home if pipeline == FREEBIND else config.home / pipeline
    return replace(named, training=training, out=home)


def plan_rows(rows: Iterable[Planned], config: RunConfig) -> dict[str, FusedSpace]:
    """Check everything that can be checked before any work; see ``plan_product``.

    Returns:
        Label to the space of planned bonds, for every row that has bonds.

    Raises:
        FreeBindError: A product cannot be made, its bonds have no such projector, or a row has a
            pipeline of its own and the options have one, too.
    """
    plans = {}
    for planned in rows:
        if planned.product is not None:
            _require_one_pipeline(planned, config)
            space = plan_product(planned.product, config_for(planned, config))
            plans[planned.row.label] = _member(space, planned)
    return plans


def _require_one_pipeline(planned: Planned, config: RunConfig) -> None:
    if planned.row.pipeline and config.training.pipeline:
        raise FreeBindError(
            "this table trains by every pipeline",
            where="--training.pipeline",
            got=config.training.pipeline,
            fix="leave it out",
        )


def make_rows(
    rows: Sequence[Planned], config: RunConfig, reporter: Reporter, announce: Announce
) -> dict[str, Model]:
    """Make the products of some rows, each once; what is trained already is not trained again.

    Returns:
        Label to the space of a row, at its factors.
    """
    made: dict[tuple[str, PipelineName | None], FusedSpace] = {}
    models: dict[str, Model] = {}
    for planned in rows:
        row, product, key = planned.row, planned.product, planned.key
        if product is None:
            models[row.label] = str(config.unified)
            continue
        if key not in made:
            options = config_for(planned, config)
            space = make_product(product, options, reporter, announce).space
            made[key] = space.at(product.factors) if product.factors else space
        models[row.label] = _member(made[key], planned)
    return models


def _member(space: FusedSpace, planned: Planned) -> FusedSpace:
    """Return the space of one projector of the last stage's only bond; all without a member."""
    if not planned.row.member:
        return space
    (bond,) = space.last.bonds
    return space.with_last(replace(space.last, bonds=(bond.only(planned.row.member),)))


@dataclass(frozen=True)
class BondState:
    """What is there of a bond that a table needs.

    Attributes:
        config: Its run.
        job: The run, checked; None if the rows that it trains on do not exist yet.
    """

    config: RunConfig
    job: Job | None

    @property
    def state(self) -> str:
        """What is there, in words."""
        if self.job is None:
            return f"to train, after {self.config.unified}"
        folder = self.job.paths.bond
        return "trained" if is_trained(folder) else "begun" if folder.exists() else "to train"

    @property
    def pairs(self) -> int | None:
        """Number of its pseudo pairs, where that is known."""
        return sum(map(len, self.job.pairs.ranges.values())) if self.job else None

    @property
    def steps(self) -> int | None:
        """Steps of its training, where that is known."""
        return len(self.job.schedule) if self.job else None

    @property
    def missing(self) -> dict[Path, int]:
        """Folder to the bytes that are still to be written, where that is known."""
        job = self.job
        if job is None or is_trained(job.paths.bond):
            return {}
        needs = estimate(job.pairs, job.bond, job.schedule)
        wanted = {job.pairs_folder: needs.pairs_disk, job.paths.bond: needs.checkpoints_disk}
        return {folder: max(0, n - files.folder_bytes(folder)) for folder, n in wanted.items()}


def bond_states(
    rows: Iterable[Planned], config: RunConfig, reporter: Reporter
) -> Iterator[BondState]:
    """Yield every bond that some rows need, once each, in the order in which they are trained."""
    seen = set()
    for planned in rows:
        for run in _runs(planned.product, config_for(planned, config)):
            if run.folder not in seen:
                seen.add(run.folder)
                there = (run.data / run.pool).exists()
                yield BondState(run, prepare(run, reporter) if there else None)


def _runs(product: Product | None, config: RunConfig) -> Iterator[RunConfig]:
    """Yield the runs of all bonds of a product; of later stages, on the rows of earlier ones."""
    for stage in product.stages if product else ():
        base = stage.base
        data = config.home / base.name / "banks" if base else config.data
        yield from bond_runs(stage, data, config)
