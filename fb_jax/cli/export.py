"""``freebind export-space``: the fused space of runs as one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from fb_jax import files
from fb_jax.banks import BankSet, Encoder
from fb_jax.cli.device import on_device
from fb_jax.cli.distilling import Distil, distilled, remove_checkpoints, require_free
from fb_jax.cli.factors import ExpertFactors
from fb_jax.cli.source import source_of
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.fusion import FusedSpace, at_digest, cut, digest
from fb_jax.fusion.card import Figures
from fb_jax.fusion.licences import require_permissive, warn_of_licences
from fb_jax.fusion.storage import read_metrics
from fb_jax.run import Run
from fb_jax.run.folder import RunPaths, open_pool
from fb_jax.run.metrics import read_figures

Licences = Annotated[dict[str, str], arg(metavar="SPACE LICENCE ...")]


@on_device
def export_space(
    run: list[Path],
    out: Path,
    factors: OmitArgPrefixes[ExpertFactors],
    distil: OmitArgPrefixes[Distil],
    base: Path | None = None,
    preset: str | None = None,
    name: str = "",
    dim: int | None = None,
    licence: Licences = {},  # noqa: B006  (tyro reads the default; nothing changes it)
    require_licence: Literal["permissive"] | None = None,
) -> None:
    """Write the fused space of a product, or of one or several runs, as one folder.

    FusedSpace.load reads it.

    Args:
        run: Folder of a product, or run folders that freebind train wrote. Several must be
            combinations into, or direct sums with, one unified space.
        out: Folder to create.
        factors: Weights of the experts, 0 to 1: sigma after combinations, lambda after a
            displacement in the paper.
        distil: One projector instead of seven.
        base: Fused space whose rows were the runs' unified space, such as PRODUCT/space; the preset
            that they were fused at is found.
        preset: Factors by name; by default the first that fits the experts.
        name: Name of the space; by default the product's, or UNIFIED+EXPERT+...
        dim: Cut a direct sum to this many dimensions, by a PCA of the pool at these factors.
        licence: Licences that the runs' banks do not record.
        require_licence: Refuse a space unless the licences of all its native spaces are permissive;
            by default a line says which of them forbid commercial use or are unknown.
    """
    how = distil.settings()
    files.require_writable(out)
    product = len(run) == 1 and RunPaths(run[0]).is_product
    made = _of_product(run[0], base) if product else _of_runs([Run(one) for one in run], base)
    space = factors.at(made.space, preset)
    name = name or space.name
    licences = {**_licences(space, made.encoders), **licence}
    (require_permissive if require_licence else warn_of_licences)(space.spaces, licences)
    metrics = made.figures if dim is None else None
    if dim is not None:
        if space.hubs is not None:
            notice_once(f"{space.title}: its hub correction is for other dimensions, and left out")
        space = cut(space, dim, made.open_pool(space))
    if how:
        require_free(out, space.named(name))
        space, metrics = distilled(space.named(name), made.open_pool(space), how, out)
    space.save(out, name, licences=licences, metrics=metrics)
    if how:
        remove_checkpoints(out)
    print(f"{out}: {space.named(name)}, from {', '.join(space.spaces)}")
    print(f"read it: FusedSpace.load('{out}')")


@dataclass(frozen=True)
class _Made:
    """What runs or a product made.

    Attributes:
        space: The space at its own factors.
        open_pool: Opens all native spaces of a space over the pool, verified.
        encoders: What computed the banks, by space, where they are there.
        figures: Split to model to pair to metric to value; None: not measured.
    """

    space: FusedSpace
    open_pool: Callable[[FusedSpace], BankSet]
    encoders: Mapping[str, Encoder]
    figures: Mapping[str, Figures] | None


def _of_product(folder: Path, base: Path | None) -> _Made:
    if base is not None:
        fix = "leave out --base, or name the runs of its last stage with --run"
        raise FreeBindError("a product brings its own base", where=folder, got="--base", fix=fix)
    source = source_of(folder, None, None)
    pool = lambda _: source.open(source.pool)  # noqa: E731
    return _Made(source.space, pool, {}, read_metrics(source.folder))


def _of_runs(runs: list[Run], base: Path | None) -> _Made:
    encoders = {name: encoder for one in runs for name, encoder in one.encoders().items()}
    ground = _fitting_base(FusedSpace.load(base), runs[0].bond.unified, encoders) if base else None
    pool, results = partial(open_pool, runs), runs[0].paths.metrics
    if len(runs) > 1:
        space = FusedSpace.of(*(one.bond for one in runs), base=ground)
        return _Made(space, pool, encoders, None)
    space = own = runs[0].space  # its stage has the factors that were chosen
    if ground:
        space = replace(ground, stages=(*ground.stages, own.last), hubs=own.hubs)
    figures = read_figures(results, own) if results.exists() else None
    return _Made(space, pool, encoders, figures)


def _fitting_base(base: FusedSpace, unified: str, encoders: Mapping[str, Encoder]) -> FusedSpace:
    """Return the base at the factors that the rows of the runs' unified space were fused at.

    Args:
        base: At its own factors, with presets. A product's own factors are chosen ones, while the
            bonds of a next stage may have been trained on rows at the factors of its recipe.
        unified: Name of the unified space.
        encoders: Of the runs' banks, by space.

    Raises:
        FreeBindError: The unified space was fused by another space than the base.
    """
    if (banks := encoders.get(unified)) is None:
        print(f"base: {base.title} at its own factors; the banks of {unified} that the runs were")
        print("trained on are gone, so nothing shows that these were their factors")
        return base
    if (found := at_digest(base, banks.weights_sha256)) is not None:
        if found != base:
            print(f"base: {found}: the runs were trained on these rows")
        return found
    raise FreeBindError(
        "the run was trained on rows of another base",
        where=unified,
        expected=f"the space that fused its banks, {banks.weights_sha256}",
        got=f"{digest(base)}: other weights, or the same at other factors than its presets",
    )


def _licences(space: FusedSpace, encoders: Mapping[str, Encoder]) -> dict[str, str]:
    recorded = {s: encoders[s].licence for s in space.dims if s in encoders}
    known = {s: licence for s, licence in recorded.items() if licence != "unknown"}
    return {**space.licences, **known}
