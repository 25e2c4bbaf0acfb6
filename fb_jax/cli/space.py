"""``freebind export-space``: from runs to the folder that people keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from fb_jax.banks import Encoder, files, open_banks
from fb_jax.cli.evaluate import ExpertFactors
from fb_jax.errors import FreeBindError
from fb_jax.fusion import FusedSpace, weights_digest
from fb_jax.run import Run, default_space

Licences = Annotated[dict[str, str], arg(metavar="SPACE LICENCE ...")]


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
    """Write the fused space of one or several runs as one folder: FusedSpace.load reads it.

    Args:
        run: Run folders that train.py wrote; several: combinations into one unified space.
        out: Folder to make.
        factors: Weights of the experts.
        base: Fused space, written by this command, whose rows the runs had as unified space.
        preset: Factors by name. Default: the first that fits the experts.
        name: Of the space. Default: UNIFIED+EXPERT+...
        dim: Cut a direct sum to so many dimensions, at these factors, by a PCA of the runs' pool.
        licence: Licences that the runs' banks do not tell.
    """
    runs, ground = [Run(folder) for folder in run], FusedSpace.load(base) if base else None
    space = default_space(*(one.bond for one in runs), base=ground)
    space = runs[0].space if len(runs) == 1 and ground is None else space
    space = (space.at(preset) if preset else space).with_factors(**factors.given())
    if dim is not None:
        space = space.cut(dim, open_banks(runs[0].data, runs[0].pool, spaces=space.spaces))
    made_by = {name: encoder for one in runs for name, encoder in one.encoders().items()}
    _require_maker(space, made_by)
    results = run[0] / "metrics.json"
    metrics = files.read_json(results)["retrieval"] if len(run) == 1 and results.exists() else None
    space.save(out, name, licences={**_licences(space, made_by), **licence}, metrics=metrics)
    at = ", ".join(f"{modality} {factor:g}" for modality, factor in space.factors.items())
    print(f"{out}: {name or space.title}, {space.dim} dimensions, from {', '.join(space.spaces)}")
    print(f"weights of the experts: {at}; FusedSpace.load('{out}') reads it")


def _require_maker(space: FusedSpace, made_by: Mapping[str, Encoder]) -> None:
    """Raise a FreeBindError if the runs' unified banks were fused by another space than the base.

    The base must have been at the same factors: the bonds were trained on rows fused at them.
    """
    banks = made_by.get(space.unified)
    if space.base is None or banks is None:
        return
    if banks.weights_sha256 != (digest := weights_digest(space.base)):
        raise FreeBindError(
            "the run was trained on rows of another base",
            where=space.unified,
            expected=f"the space that its banks were fused by, {banks.weights_sha256}",
            got=f"{digest}: other weights, or the same at other factors",
        )


def _licences(space: FusedSpace, made_by: Mapping[str, Encoder]) -> dict[str, str]:
    told = {name: encoder.licence for name, encoder in made_by.items() if name in space.dims}
    known = {name: licence for name, licence in told.items() if licence != "unknown"}
    return {**(space.base.licences if space.base else {}), **known}
