"""Building a product: its stages one after another, each from banks to bonds to fused rows.

HOME/UNIFIED-BOND-EXPERT/    the run of every bond, as freebind train --bond writes it
HOME/PRODUCT/product.json    what distinguishes this product from others
HOME/PRODUCT/space/          the fused space, with its model card
HOME/PRODUCT/provenance.json data
HOME/PRODUCT/metrics.json    results
HOME/PRODUCT/sweep.png
HOME/PRODUCT/routers/        its finished routers
HOME/PRODUCT/banks/          its rows, beside the native spaces, if another builds on it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from fb_jax import files
from fb_jax.banks import BankSet, open_banks, open_split
from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion import CutSum, Factors, FusedSpace, digest, licences_of, with_basis
from fb_jax.fusion.cut import require_cut, uncut
from fb_jax.projector import Bond, BondSpec, End
from fb_jax.pseudo.plans import plan_for
from fb_jax.run.bond import prepare, report, train
from fb_jax.run.checks import Job
from fb_jax.run.device import computing_on
from fb_jax.run.folder import RunPaths
from fb_jax.run.options import RunConfig
from fb_jax.run.provenance import Fingerprints, fingerprints, read_provenance, tell_changed
from fb_jax.run.recipe import Product, products
from fb_jax.run.report import Report, cut_once, report_space
from fb_jax.run.reporter import Reporter
from fb_jax.run.routing import with_routers
from fb_jax.run.routing_choice import RouterChoice, add_routers, require_routable
from fb_jax.run.rows import require_tuned_rows, write_rows
from fb_jax.run.splits import evaluation_banks
from fb_jax.training.routing import Routing

Announce = Callable[[str, Job], None]
"""Called before every bond is trained, with its title and the checked run."""


def make_product(
    product: Product,
    config: RunConfig,
    reporter: Reporter,
    announce: Announce = lambda _title, _job: None,
) -> Report:
    """Make a product; what is trained or written already is not made again.

    Args:
        product: What to make.
        config: Options of all its runs: data, pairs, training.
        reporter: Shows progress.
        announce: Called before every bond.

    Returns:
        The results, and the fused space, which ``HOME/PRODUCT/space`` then holds.

    Raises:
        FreeBindError: A space is missing in the data or does not fit, or a folder is refused.
    """
    plan_product(product, config)
    with computing_on(config.device):
        return _make(product, config, reporter, announce)


def _make(product: Product, config: RunConfig, reporter: Reporter, announce: Announce) -> Report:
    base: FusedSpace | None = None
    data, made = config.data, None
    for stage, following in zip_longest(product.stages, product.stages[1:]):
        build = _Stage(stage, config, reporter)
        with files.locked(build.folder):
            base = build.space(base, data, announce)
            made = build.finish(base)
            base = made.space if stage.builds_on_chosen else build.routed_as(base, made.space)
            if following is not None and following.bond:
                data = write_rows(base, config, reporter)
    assert made is not None
    return made


def plan_product(product: Product, config: RunConfig) -> FusedSpace:
    """Check everything that can be checked before any work, for all stages.

    Returns:
        The fused space of planned bonds.

    Raises:
        FreeBindError: The pool lacks a native space, or a stage does not fit it.
    """
    files.require_writable(config.home)
    known = open_split(config.data, config.pool).spaces()
    if (first := product.natives[0]) not in known:
        raise unknown("product or space", first, [*products(), *known], product.stages[0].name)
    pool = open_banks(config.data, config.pool, spaces=product.natives)
    space: FusedSpace | None = None
    for stage in product.stages:
        _require_own_folder(stage, config)
        if space is not None and stage.tuned:
            space = _tuned(stage, space)
            continue
        bonds = [Bond(_planned(stage, expert, space, pool, config)) for expert in stage.experts]
        space = _fused(stage, bonds, space)
        require_routable(space, stage.router)
        if (dim := _dim(stage, pool)) is not None:
            require_cut(space.last, dim)
            space = with_basis(space, np.zeros((space.dim, dim), np.float32))
    assert space is not None
    return space


def bond_runs(stage: Product, data: Path, config: RunConfig) -> list[RunConfig]:
    """Return the runs of a stage's bonds, each in the folder of a run by itself."""
    return [
        replace(
            config,
            product=None,
            data=data,
            bond=stage.bond or "combination",
            unified=stage.unified,
            expert=expert,
            pairs=replace(config.pairs, method=stage.retrieval or config.pairs.method),
            out=config.home / f"{stage.unified}-{stage.bond}-{expert}",
        )
        for expert in stage.experts
    ]


def _require_own_folder(stage: Product, config: RunConfig) -> None:
    """Raise a FreeBindError if another product of this name was made here."""
    marker = config.home / stage.name / "product.json"
    if not marker.exists():
        return
    found = files.read_json(marker, dict[str, Any]).get("product")
    if found != files.json_types(stage.to_dict()):
        raise FreeBindError(
            "this folder holds another product of this name",
            where=marker.parent,
            expected=stage.to_dict(),
            got=found,
            fix="give the file another name, or choose another --out",
        )


def _planned(
    stage: Product, expert: str, base: FusedSpace | None, pool: BankSet, config: RunConfig
) -> BondSpec:
    """Describe a bond of a stage whose unified space need not exist yet."""
    if base is None:
        unified = End(stage.unified, pool.modalities(stage.unified), pool.dim(stage.unified))
    else:
        unified = End(stage.unified, base.modalities, base.dim)
    plan_for(unified.modalities, pool.modalities(expert), config.pairs.anchor)  # refuses misfits
    theirs = End(expert, pool.modalities(expert), pool.dim(expert))
    how = config.training
    kind, anchor = stage.bond or "combination", config.pairs.anchor
    return BondSpec.between(kind, unified, theirs, how.hidden, how.pipeline, anchor)


def _dim(stage: Product, pool: BankSet) -> int | None:
    """Return the dimensions that a stage is cut to; None if it is not cut."""
    return pool.dim(stage.natives[0]) - 1 if stage.dim == "unified" else stage.dim


def _tuned(stage: Product, base: FusedSpace) -> FusedSpace:
    """Return a base with rows of a tuned encoder."""
    rows = {**base.last.tuned_rows, **stage.tuned}
    return base.with_last(replace(base.last, name=stage.name, tuned_rows=rows))


def _fused(stage: Product, bonds: Sequence[Bond], base: FusedSpace | None) -> FusedSpace:
    """Return the space of a stage's bonds at its factors, uncut."""
    if stage.fill is not None and stage.bond != "direct_sum":
        raise FreeBindError("only a direct sum is filled in", where=f"{stage.name}: fill")
    if stage.unit_experts is not None and stage.bond != "combination":
        raise FreeBindError("only combinations have it", where=f"{stage.name}: unit_experts")
    if stage.router_shape and not stage.router:
        raise FreeBindError("there is no router of this shape", where=f"{stage.name}: router_shape")
    fill = {} if stage.fill is None else {"fill": float(stage.fill)}
    unit = {} if stage.unit_experts is None else {"unit_experts": stage.unit_experts}
    options: dict[str, Any] = fill | unit
    return FusedSpace.of(*bonds, at=stage.factors or None, base=base, name=stage.name, **options)


@dataclass(frozen=True)
class _Stage:
    """One stage that is being built."""

    product: Product
    config: RunConfig
    reporter: Reporter

    @property
    def folder(self) -> Path:
        """The folder of the product."""
        return self.config.home / self.product.name

    def space(self, base: FusedSpace | None, data: Path, announce: Announce) -> FusedSpace:
        """Train the stage's bonds, or read them, and fuse them."""
        stage = self.product
        if base is not None and stage.tuned:
            require_tuned_rows(stage, base, self.config)
            return _tuned(stage, base)
        jobs = [prepare(run, self.reporter) for run in bond_runs(stage, data, self.config)]
        space = _fused(stage, [self._bond(job, announce) for job in jobs], base)
        pool = open_banks(self.config.data, self.config.pool, spaces=stage.natives)
        if (dim := _dim(stage, pool)) is None:
            return space
        kept = RunPaths(self.folder).kept_basis(space)
        return cut_once(space, dim, kept, self.config.data, self.config.pool)

    def _bond(self, job: Job, announce: Announce) -> Bond:
        announce(job.config.title, job)
        with files.locked(job.config.folder):
            bond = train(job, self.reporter)
            report(job, bond, self.reporter)
        return bond

    def _tell_changed(self, banks: Fingerprints) -> None:
        """Name what is gone, or has changed, since the product was evaluated."""
        if (path := self.folder / "provenance.json").exists():
            recorded = read_provenance(path, self.folder / "product.json").banks
            tell_changed(recorded, banks, self.config.data.absolute())

    def _record(self, claim: str, banks: Fingerprints) -> None:
        """Write what the product was evaluated on."""
        data = str(self.config.data.absolute())
        about = {"data": data, "run": claim, "banks": banks, "evaluation": list(banks)}
        files.write_json(self.folder / "provenance.json", about)

    def _built_on(self) -> Factors | None:
        """Return the factors of the rows that a later stage was built on, if they were chosen."""
        folders = [self.folder / name for name in ("banks", "space")]
        built = self.product.builds_on_chosen and all(folder.exists() for folder in folders)
        if not built:
            return None
        return FusedSpace.load(self.folder / "space").factors

    def finish(self, space: FusedSpace) -> Report:
        """Choose the factors of the stage's space, evaluate and store it."""
        config, folder = self.config, self.folder
        identity = {
            "format": "freebind-product",
            "version": 1,
            "product": self.product.to_dict(),
            "weights": digest(space),
            **({"routing": asdict(self._routing)} if self.product.router else {}),
        }
        claim = files.claim(folder / "product.json", identity, "results")
        if isinstance(space.last, CutSum):  # so that a killed process finds it again
            about = {"space": digest(uncut(space))}
            files.write_recorded(RunPaths(folder).basis, space.last.basis, about)
        evaluation = evaluation_banks(space, config.data, config.pool)
        for banks in evaluation.values():
            banks.verify()
        self._tell_changed(data := fingerprints(evaluation))
        how = replace(config.choosing, built_on=self._built_on())
        how = replace(how, hubs=config.hubs or self.product.hubs)
        pool = partial(open_banks, config.data, config.pool, spaces=space.spaces)
        route = partial(self._routed, pool=pool) if self.product.router else None
        options = self.reporter, config.metrics, how, pool, route
        made = report_space(space, evaluation, folder, *options)
        self._record(claim, data)
        figures = {name: result.to_dict() for name, result in made.results.items()}
        licences = licences_of(space, pool())
        made.space.save(folder / "space", licences=licences, metrics=figures, other_factors=True)
        return made

    @property
    def _routing(self) -> Routing:
        """Settings of the product's routers."""
        how = self.config.routing
        return replace(how, shape=self.product.router_shape or how.shape)

    def _routed(
        self, space: FusedSpace, val: tuple[str, BankSet | None], pool: Callable[[], BankSet]
    ) -> tuple[FusedSpace, dict[str, RouterChoice]]:
        """Return the space with its routers, and how they were chosen."""
        asked, folder = self.product.router, self.folder / "routers"
        return add_routers(space, asked, pool(), val, self._routing, folder, self.reporter)

    @staticmethod
    def routed_as(space: FusedSpace, made: FusedSpace) -> FusedSpace:
        """Return a space at its own factors, with the routers of the finished one."""
        return with_routers(space, made.last.routers) if made.last.routers else space
