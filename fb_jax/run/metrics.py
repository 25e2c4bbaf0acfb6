"""``metrics.json`` of a run or a product: figures, how factors were chosen, and of which space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Results
from fb_jax.fusion import FusedSpace, HubCorrection, digest
from fb_jax.fusion.card import Figures
from fb_jax.fusion.hub_files import HubsAbout, packed, read_hubs, remove_others
from fb_jax.run.choosing import Chosen, Validation
from fb_jax.run.routing_choice import RouterChoice

METRICS = "metrics.json"


def write_metrics(
    folder: Path,
    space: FusedSpace,
    results: Mapping[str, Results],
    known: Validation | None,
    routers: Mapping[str, RouterChoice] = MappingProxyType({}),
) -> None:
    """Write the results of a space, and the choices: its factors, or only what others were on."""
    figures = {name: result.to_dict() for name, result in results.items()}
    about = {"retrieval": figures, "space": digest(space.plain)}
    name = "chosen" if isinstance(known, Chosen) else "validation"
    about |= {name: asdict(known)} if known else {}
    about |= {"routers": {m: asdict(own) for m, own in routers.items()}} if routers else {}
    hubs, references = packed(space.hubs)
    for name, content in references.items():
        files.write_atomic(folder / name, partial(_write, content))
    files.write_json(folder / METRICS, about | hubs)
    remove_others(folder, references)


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


@dataclass(frozen=True)
class _Metrics:
    """What metrics.json holds; earlier versions did not record the space."""

    retrieval: dict[str, Figures]
    space: str = ""
    chosen: Chosen | None = None
    validation: Validation | None = None
    hubs: HubsAbout | None = None
    routers: dict[str, RouterChoice] = field(default_factory=dict)


def read_figures(path: Path, space: FusedSpace) -> dict[str, Figures]:
    """Return the figures that ``write_metrics`` wrote: set to model to pair to metric to value.

    Raises:
        FreeBindError: The file is damaged or was altered, or holds figures of another space.
    """
    found = files.read_json(path, _Metrics)
    _require_own(path, found, space)
    return found.retrieval


def read_correction(path: Path, space: FusedSpace) -> HubCorrection | None:
    """Return the hub correction that ``write_metrics`` wrote; None if there is none.

    Raises:
        FreeBindError: A file is damaged or was altered, or the correction is of another space.
    """
    found = files.read_json(path, _Metrics) if path.exists() else None
    if found is None or found.hubs is None:
        return None
    _require_own(path, found, space)
    return read_hubs(path.parent, found.hubs)


def read_chosen(path: Path, space: FusedSpace, *, stored: bool = False) -> Chosen | None:
    """Return the choice of factors that ``write_metrics`` wrote; None if there is none.

    See ``read_validation``.
    """
    known = read_validation(path, space, stored=stored)
    return known if isinstance(known, Chosen) else None


def read_validation(path: Path, space: FusedSpace, *, stored: bool = False) -> Validation | None:
    """Return what was chosen on, with the factors if they were; None if nothing says it.

    Args:
        path: metrics.json.
        space: The space, at any factors.
        stored: It was stored at the chosen factors, and must be at them.

    Raises:
        FreeBindError: The file is damaged or was altered, or the choice is for another space.
    """
    found = files.read_json(path, _Metrics) if path.exists() else None
    if found is None or (known := found.chosen or found.validation) is None:
        return None
    at = space if stored or found.chosen is None else space.choosing(found.chosen.factors)
    _require_own(path, found, at)
    return known


def _require_own(path: Path, found: _Metrics, space: FusedSpace) -> None:
    if found.space not in ("", wanted := digest(space.plain)):
        raise FreeBindError(
            "these results are of another space",
            where=path,
            expected=f"those of {space.title}, {wanted}",
            got=found.space,
            fix="run freebind train again: it evaluates the run anew",
        )
