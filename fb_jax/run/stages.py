"""Making a product: its stages one behind the other, each from banks to bonds to fused rows.

HOME/UNIFIED-BOND-EXPERT/    the run of every bond, as train.py makes it
HOME/PRODUCT/product.json    what tells this product from others
HOME/PRODUCT/space/          the fused space, with its model card
HOME/PRODUCT/metrics.json    results
HOME/PRODUCT/sweep.png
HOME/PRODUCT/banks/          its rows, beside the native spaces: only if another builds on it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from fb_jax.banks import POOL, BankSet, Split, files, open_banks, open_split, splits
from fb_jax.errors import FreeBindError, unknown
from fb_jax.evaluation import Metrics, evaluate, plot_sweep, sweep
from fb_jax.evaluation.models import pair_tables
from fb_jax.fusion import Factors, FusedSpace, presets_for, weights_digest, write_fused
from fb_jax.fusion.requirements import require_cut
from fb_jax.projector import DIRECTIONS, Bond, subsets
from fb_jax.pseudo.plans import in_order, plan_for
from fb_jax.run.config import RunConfig
from fb_jax.run.pipeline import Reporter, prepare, report, train
from fb_jax.run.preflight import Job
from fb_jax.run.product import Product, products
from fb_jax.training import BondForm

FLOAT16 = 2
Announce = Callable[[str, Job], None]
"""Told of every bond before it is trained: its title, and the checked run."""


def make_product(
    product: Product,
    config: RunConfig,
    reporter: Reporter,
    announce: Announce = lambda _title, _job: None,
) -> tuple[FusedSpace, dict[str, Metrics]]:
    """Make a product, or go on making it: what is trained or written is not made again.

    Args:
        product: What to make.
        config: Of all its runs: data, pairs, training.
        reporter: Shows how it goes.
        announce: Told of every bond.

    Returns:
        The fused space, which ``HOME/PRODUCT/space`` then holds; and split to its metrics.

    Raises:
        FreeBindError: A space is not in the data or does not fit, or a run or folder is refused.
    """
    outline(product, config)
    base: FusedSpace | None = None
    data, results = config.data, {}
    for stage, following in zip_longest(product.stages, product.stages[1:]):
        with files.locked(config.home / stage.name):
            base = _make(stage, base, data, config, reporter, announce)
            results = _finish(stage, base, config, reporter)
            if following is not None and following.bond:
                data = _fused_banks(base, config, reporter)
    assert base is not None
    return base, results


def outline(product: Product, config: RunConfig) -> FusedSpace:
    """Check all that can be before any work: spaces, modalities, factors, dimensions of all stages.

    Returns:
        The fused space with shapes for numbers.

    Raises:
        FreeBindError: The pool lacks a native space, or a stage does not fit it.
    """
    known = open_split(config.data, config.pool).spaces()
    if (first := product.natives[0]) not in known:
        raise unknown("product or space", first, [*products(), *known], product.stages[0].name)
    pool = open_banks(config.data, config.pool, spaces=product.natives)
    space: FusedSpace | None = None
    for stage in product.stages:
        _require_own_folder(stage, config)
        if space is not None and stage.tuned:
            space = _given(stage, space)
            continue
        bonds = [_form(stage, expert, space, pool, config).outline() for expert in stage.experts]
        space = _at(stage, bonds, space)
        if stage.dim is not None:
            require_cut(space, stage.dim)
            space = replace(space, basis=np.zeros((space.dim, stage.dim), np.float32))
    assert space is not None
    return space


def _require_own_folder(stage: Product, config: RunConfig) -> None:
    """Raise a FreeBindError if another product of this name was made here."""
    marker = config.home / stage.name / "product.json"
    if marker.exists() and files.read_json(marker)["product"] != files.json_types(stage.to_dict()):
        raise FreeBindError(
            "this folder holds another product of this name, made from something else",
            where=marker.parent,
            expected=stage.to_dict(),
            got=files.read_json(marker)["product"],
            fix="give the file another name, or choose another --out",
        )


def _form(
    stage: Product, expert: str, base: FusedSpace | None, pool: BankSet, config: RunConfig
) -> BondForm:
    """Return the form of a bond of a stage whose unified space need not be there yet."""
    kind = stage.bond or "combination"
    modalities = base.modalities if base else pool.modalities(stage.unified)
    shared = in_order(pool.modalities(expert))
    plan_for(modalities, shared, config.pairs.anchor)  # refuses experts that do not fit
    dims = {
        "unified": base.dim if base else pool.dim(stage.unified),
        "expert": pool.dim(expert),
    }
    direction = DIRECTIONS[kind]
    return BondForm(
        kind=kind,
        unified=stage.unified,
        expert=expert,
        shared=shared,
        members=subsets(in_order(modalities)),
        dim_in=dims[direction.source],
        dim_out=dims[direction.target],
        hidden=config.training.hidden,
        precision=config.training.precision,
    )


def bond_runs(stage: Product, data: Path, config: RunConfig) -> list[RunConfig]:
    """Return the runs of a stage's bonds, each to the folder that a run of its own would have."""
    return [
        replace(
            config,
            product=None,
            data=data,
            bond=stage.bond or "combination",
            unified=stage.unified,
            expert=expert,
            out=config.home / f"{stage.unified}-{stage.bond}-{expert}",
        )
        for expert in stage.experts
    ]


def _make(
    stage: Product,
    base: FusedSpace | None,
    data: Path,
    config: RunConfig,
    reporter: Reporter,
    announce: Announce,
) -> FusedSpace:
    if base is not None and stage.tuned:
        _require_tuned(stage, base, config)
        return _given(stage, base)
    jobs = [prepare(run, reporter) for run in bond_runs(stage, data, config)]
    space = _at(stage, [_bond(job, reporter, announce) for job in jobs], base)
    return space if stage.dim is None else _cut(stage, space, config)


def _given(stage: Product, base: FusedSpace) -> FusedSpace:
    return replace(base, name=stage.name, given={**base.given, **stage.tuned})


def _at(stage: Product, bonds: Sequence[Bond], base: FusedSpace | None) -> FusedSpace:
    """Return the space of a stage's bonds, uncut, at its factors."""
    space = replace(FusedSpace.halfway(*bonds, base=base), name=stage.name)
    if stage.fill is not None:
        if not space.direct:
            raise FreeBindError("only a direct sum is filled in", where=f"{stage.name}: fill")
        space = replace(space, fill=float(stage.fill))
    if isinstance(stage.factors, str):
        return space.at(stage.factors)
    return replace(space, factors=stage.factors)


def _cut(stage: Product, space: FusedSpace, config: RunConfig) -> FusedSpace:
    """Cut a direct sum as it was cut before, or now: other machines' bits would be other rows."""
    assert stage.dim is not None
    kept = config.home / stage.name / "space"
    if kept.exists():
        before = FusedSpace.load(kept)
        if before.dim == stage.dim and before.basis is not None:
            again = replace(space, basis=before.basis)
            if weights_digest(again) == weights_digest(before):
                return again
    return space.cut(stage.dim, open_banks(config.data, config.pool, spaces=space.spaces))


def _bond(job: Job, reporter: Reporter, announce: Announce) -> Bond:
    """Train the bond of a run, or read it; its table and pictures are made anew."""
    run = job.config
    announce(f"{run.bond} of {run.expert} and {run.unified}", job)
    bond = train(job, reporter)
    report(job, bond, reporter)
    return bond


def _finish(
    stage: Product, space: FusedSpace, config: RunConfig, reporter: Reporter
) -> dict[str, Metrics]:
    """Evaluate a stage's space and keep it."""
    folder = config.home / stage.name
    evaluation = evaluation_banks(space, config.data, config.pool)
    identity = {
        "format": "freebind-product",
        "version": 1,
        "product": stage.to_dict(),
        "weights": weights_digest(space),
    }
    files.claim(folder / "product.json", identity, "results")
    with reporter.task(f"evaluation of {space.title}", len(evaluation)) as advance:
        results = {}
        advance(0)
        for split, banks in evaluation.items():
            results[split] = evaluate(space, banks, points_for(space))
            advance(1)
    files.write_json(folder / "metrics.json", {"retrieval": results})
    if evaluation:
        split = "val" if "val" in evaluation else next(iter(evaluation))
        swept = sweep(space, evaluation[split])
        plot_sweep(swept, points_for(space), f"{space.title}, {split}", folder / "sweep.png")
    space.save(folder / "space", licences=_licences(space, config), metrics=results)
    return results


def points_for(space: FusedSpace) -> dict[str, Factors]:
    """Return the factors that a product is evaluated at: the presets, and its own."""
    points = presets_for(space)
    known = space.factors in points.values()
    return points if known else points | {space.title: space.factors}


def _splits(space: FusedSpace, root: Path) -> list[str]:
    """Return the splits that have all native spaces."""
    wanted = set(space.spaces)
    return [name for name in splits(root) if wanted <= set(open_split(root, name).spaces())]


def evaluation_banks(space: FusedSpace, root: Path, pool: str = POOL) -> dict[str, BankSet]:
    """Return the banks of the splits of a root that a fused space can be evaluated on."""
    names = [name for name in _splits(space, root) if name != pool]
    found = {name: open_banks(root, name, spaces=space.spaces) for name in names}
    return {name: banks for name, banks in found.items() if pair_tables(space.modalities, banks)}


def _licences(space: FusedSpace, config: RunConfig) -> dict[str, str]:
    pool = open_banks(config.data, config.pool, spaces=space.spaces)
    told = {native: bank.encoder.licence for (native, _), bank in pool.banks.items()}
    return {native: licence for native, licence in told.items() if licence != "unknown"}


def _fused_banks(space: FusedSpace, config: RunConfig, reporter: Reporter) -> Path:
    """Write a product's rows, beside links to the native spaces: a bank root for the next stage."""
    root = config.home / space.name / "banks"
    names = _splits(space, config.data)
    sets = {name: open_banks(config.data, name, spaces=space.spaces) for name in names}
    rows = sum(len(b.split.items(m)) for b in sets.values() for m in space.fusable(b))
    done = files.folder_bytes(root) if root.exists() else 0
    files.require_space({root: FLOAT16 * space.dim * rows - done})
    with reporter.task(f"rows of {space.name}", rows) as advance:
        for name, banks in sets.items():
            write_fused(space, banks, root, space.name, progress=advance)
            _link(banks.split, Split(root / name))
    return root


def _link(source: Split, target: Split) -> None:
    """Let a split have the spaces of another, by links."""
    for space in source.spaces():
        link, wanted = target.path / "embeddings" / space, source.path / "embeddings" / space
        if link.is_symlink() and link.resolve() != wanted.resolve():
            link.unlink()  # the data were elsewhere
        if not link.exists():
            link.symlink_to(wanted.resolve())


def _require_tuned(stage: Product, base: FusedSpace, config: RunConfig) -> None:
    """Raise a FreeBindError that tells how to tune, unless the tuned rows are in every split."""
    lacking = {
        f"{split}: {native}/{modality}"
        for split in _splits(base, config.data)
        for modality, native in stage.tuned.items()
        if modality not in open_split(config.data, split).spaces().get(native, [])
    }
    if not lacking:
        _require_tuned_dim(stage, base, config)
        return
    native, space = next(iter(stage.tuned.values())), config.home / stage.unified / "space"
    every = ", ".join(_splits(base, config.data))
    raise FreeBindError(
        f"the encoder that {stage.name} takes is not tuned yet, or its rows are not exported",
        where=config.data,
        expected=f"the space {native} in {every}",
        got=f"none in {', '.join(sorted(lacking))}",
        fix=f"""
  1. a bank root PAIRS with a split tune: audio, image and an audio-image table (docs/encoders.md);
     freebind fuse --space {space} --data PAIRS --split tune
  2. python -m encoders_torch.tune --space {space} --weights imagebind_huge.pth \\
         --root PAIRS --split tune --audio AUDIO --out tuned
  3. for each of {every}:
     python -m encoders_torch.export --space {native} --weights tuned --audio AUDIO \\
         --split SPLIT --out {config.data}
  4. the same command again""",
    )


def _require_tuned_dim(stage: Product, base: FusedSpace, config: RunConfig) -> None:
    for native in stage.tuned.values():
        found = open_banks(config.data, config.pool, spaces=[native]).dim(native)
        if found != base.dim:
            raise FreeBindError(
                "these rows are not in the space that they are given for",
                where=f"{config.data}: {native}",
                expected=f"{base.dim} dimensions, tuned into {base.title}",
                got=found,
            )
