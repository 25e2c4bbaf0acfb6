"""Making a product: its stages one behind the other, each from banks to bonds to fused rows.

HOME/UNIFIED-BOND-EXPERT/    the run of every bond, as train.py makes it
HOME/PRODUCT/product.json    what tells this product from others
HOME/PRODUCT/space/          the fused space, with its model card
HOME/PRODUCT/metrics.json    results
HOME/PRODUCT/sweep.png
HOME/PRODUCT/banks/          its rows, beside the native spaces: only if another builds on it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from fb_jax.banks import POOL, BankSet, Split, files, open_banks, open_split, splits
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Metrics, evaluate, plot_sweep, sweep
from fb_jax.evaluation.models import pair_tables
from fb_jax.fusion import Factors, FusedSpace, presets_for, weights_digest, write_fused
from fb_jax.projector import Bond
from fb_jax.run.config import RunConfig
from fb_jax.run.pipeline import Reporter, prepare, report, train
from fb_jax.run.preflight import Job
from fb_jax.run.product import Product

FLOAT16 = 2
Announce = Callable[[str, Job], None]
"""Told of every bond before it is trained: its title, and the checked run."""


def make_product(
    product: Product,
    config: RunConfig,
    reporter: Reporter,
    announce: Announce = lambda _title, _job: None,
) -> tuple[FusedSpace, dict[str, Metrics]]:
    """Make a product, or go on making it: what is done is not done again.

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
    _require_natives(product, config)
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


def _require_natives(product: Product, config: RunConfig) -> None:
    """Raise a FreeBindError unless the pool has every native space that the stages start from."""
    open_banks(config.data, config.pool, spaces=product.natives)


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
        return replace(base, name=stage.name, given={**base.given, **stage.tuned})
    bonds = [_bond(run, reporter, announce) for run in bond_runs(stage, data, config)]
    space = replace(FusedSpace.halfway(*bonds, base=base), name=stage.name)
    at = stage.factors
    space = space.at(at) if isinstance(at, str) else space.with_factors(**at)
    if stage.fill is not None:
        space = replace(space, fill=stage.fill)
    if stage.dim is not None:
        space = space.cut(stage.dim, open_banks(config.data, config.pool, spaces=space.spaces))
    return space


def _bond(run: RunConfig, reporter: Reporter, announce: Announce) -> Bond:
    """Train the bond of a run; if that is done, only read it."""
    job = prepare(run, reporter)
    announce(f"{run.bond} of {run.expert} and {run.unified}", job)
    bond = train(job, reporter)
    if not (run.folder / "metrics.json").exists():
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
    with reporter.stage(f"evaluation of {space.title}", len(evaluation)) as advance:
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
    with reporter.stage(f"rows of {space.name}", rows) as advance:
        for name, banks in sets.items():
            write_fused(space, banks, root, space.name, progress=advance)
            _link(banks.split, Split(root / name))
    return root


def _link(source: Split, target: Split) -> None:
    """Let a split have the spaces of another, by links."""
    for space in source.spaces():
        link = target.path / "embeddings" / space
        if not link.exists():
            link.unlink(missing_ok=True)  # one that points to where the data were
            link.symlink_to((source.path / "embeddings" / space).resolve())


def _require_tuned(stage: Product, base: FusedSpace, config: RunConfig) -> None:
    """Raise a FreeBindError that tells how to tune, unless the tuned rows are in every split."""
    lacking = {
        f"{split}: {native}"
        for split in _splits(base, config.data)
        for native in stage.tuned.values()
        if native not in open_split(config.data, split).spaces()
    }
    if not lacking:
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
