"""``freebind export-space``: the fused space of runs as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Encoder, open_banks
from fb_jax.cli.device import on_device
from fb_jax.cli.factors import ExpertFactors
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, cut, digest
from fb_jax.run import Run
from fb_jax.run.report import read_figures

Licences = Annotated[dict[str, str], arg(metavar="SPACE LICENCE ...")]


@on_device
def export_space(
    run: list[Path],
    out: Path,
    factors: OmitArgPrefixes[ExpertFactors],
    base: Path | None = None,
    preset: str | None = None,
    name: str = "",
    dim: int | None = None,
    licence: Licences = {},  # noqa: B006  (tyro reads the default; nothing changes it)
) -> None:
    """Write the fused space of one or several runs as one folder; FusedSpace.load reads it.

    Args:
        run: Run folders that freebind train wrote. Several must be combinations into, or direct
            sums with, one unified space.
        out: Folder to create.
        factors: Weights of the experts, 0 to 1: sigma after combinations, lambda after a
            displacement in the paper.
        base: Fused space, written by this command, whose rows were the runs' unified space.
        preset: Factors by name; by default the first that fits the experts.
        name: Name of the space; by default UNIFIED+EXPERT+...
        dim: Cut a direct sum to this many dimensions, by a PCA of the runs' pool at these factors.
        licence: Licences that the runs' banks do not record.
    """
    runs, ground = [Run(folder) for folder in run], FusedSpace.load(base) if base else None
    if len(runs) == 1 and ground is None:
        space = runs[0].space
    else:
        space = FusedSpace.of(*(one.bond for one in runs), base=ground)
    space = (space.at(preset) if preset else space).with_factors(**factors.chosen())
    if dim is not None:
        for one in runs:
            one.open_banks(one.pool)  # verified, and as the run recorded them
        pool = open_banks(runs[0].data, runs[0].pool, spaces=space.spaces)
        pool.verify()
        space = cut(space, dim, pool)
    encoders = {name: encoder for one in runs for name, encoder in one.encoders().items()}
    _require_base(space, encoders)
    results = runs[0].paths.metrics
    metrics = read_figures(results, runs[0].space) if len(run) == 1 and results.exists() else None
    space.save(out, name, licences={**_licences(space, encoders), **licence}, metrics=metrics)
    print(f"{out}: {space.named(name)}, from {', '.join(space.spaces)}")
    print(f"read it: FusedSpace.load('{out}')")


def _require_base(space: FusedSpace, encoders: Mapping[str, Encoder]) -> None:
    """Raise a FreeBindError if the runs' unified banks were fused by another space than the base.

    The base must have been at the same factors: the bonds were trained on rows fused at them.
    """
    banks = encoders.get(space.unified)
    if space.base is None or banks is None:
        return
    if banks.weights_sha256 != (found := digest(space.base)):
        raise FreeBindError(
            "the run was trained on rows of another base",
            where=space.unified,
            expected=f"the space that fused its banks, {banks.weights_sha256}",
            got=f"{found}: other weights, or the same at other factors",
        )


def _licences(space: FusedSpace, encoders: Mapping[str, Encoder]) -> dict[str, str]:
    recorded = {s: encoders[s].licence for s in space.dims if s in encoders}
    known = {s: licence for s, licence in recorded.items() if licence != "unknown"}
    return {**space.licences, **known}
