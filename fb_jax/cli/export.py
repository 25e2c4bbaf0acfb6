"""``freebind export-space``: the fused space of runs as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Encoder
from fb_jax.cli.device import on_device
from fb_jax.cli.distilling import Distil, distilled, remove_checkpoints, require_free
from fb_jax.cli.factors import ExpertFactors
from fb_jax.errors import FreeBindError, notice_once
from fb_jax.fusion import FusedSpace, at_digest, cut, digest
from fb_jax.fusion.licences import require_permissive, warn_of_licences
from fb_jax.run import Run
from fb_jax.run.folder import open_pool
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
    """Write the fused space of one or several runs as one folder; FusedSpace.load reads it.

    Args:
        run: Run folders that freebind train wrote. Several must be combinations into, or direct
            sums with, one unified space.
        out: Folder to create.
        factors: Weights of the experts, 0 to 1: sigma after combinations, lambda after a
            displacement in the paper.
        distil: One projector instead of seven.
        base: Fused space whose rows were the runs' unified space, such as PRODUCT/space; the preset
            that they were fused at is found.
        preset: Factors by name; by default the first that fits the experts.
        name: Name of the space; by default UNIFIED+EXPERT+...
        dim: Cut a direct sum to this many dimensions, by a PCA of the runs' pool at these factors.
        licence: Licences that the runs' banks do not record.
        require_licence: Refuse a space unless the licences of all its native spaces are permissive;
            by default a line says which of them forbid commercial use or are unknown.
    """
    how = distil.settings()
    runs = [Run(folder) for folder in run]
    encoders = {name: encoder for one in runs for name, encoder in one.encoders().items()}
    ground = _fitting_base(FusedSpace.load(base), runs[0].bond.unified, encoders) if base else None
    if len(runs) == 1:  # its stage has the factors that were chosen
        space = runs[0].space
        if ground:
            space = replace(ground, stages=(*ground.stages, space.last), hubs=space.hubs)
    else:
        space = FusedSpace.of(*(one.bond for one in runs), base=ground)
    space = factors.at(space, preset)
    licences = {**_licences(space, encoders), **licence}
    (require_permissive if require_licence else warn_of_licences)(space.spaces, licences)
    if dim is not None:
        if space.hubs is not None:
            notice_once(f"{space.title}: its hub correction is for other dimensions, and left out")
        space = cut(space, dim, open_pool(runs, space))
    results = runs[0].paths.metrics
    measured = len(run) == 1 and dim is None and results.exists()
    metrics = read_figures(results, runs[0].space) if measured else None
    if how:
        require_free(out, space.named(name))
        space, metrics = distilled(space.named(name), runs, how, out)
    space.save(out, name, licences=licences, metrics=metrics)
    if how:
        remove_checkpoints(out)
    print(f"{out}: {space.named(name)}, from {', '.join(space.spaces)}")
    print(f"read it: FusedSpace.load('{out}')")


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
