"""The stages of a fused space as JSON and tensors, and the digest of both."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.files.kinds import Weight, Width
from fb_jax.fusion.cut import CutSum, require_cut
from fb_jax.fusion.space import FusedSpace
from fb_jax.fusion.stage import Stage
from fb_jax.fusion.sums import FILL, DirectSum, WeightedSum, make_stage
from fb_jax.projector import Bond, BondSpec, Router, RouterSpec, Variables
from fb_jax.projector.router import Layer

AGAIN = "get the folder again from where it came"


def digest(space: FusedSpace) -> str:
    """Return a SHA-256 of everything that a fused row depends on, except the native rows."""
    hubs = [] if space.hubs is None else [space.hubs.identity()]
    return files.sha256_of_json([*map(_row_identity, space.stages), *hubs])


def at_digest(space: FusedSpace, wanted: str) -> FusedSpace | None:
    """Return a space at its own factors, or at the preset, with which it has a digest."""
    known = (space, space.plain, *map(space.at, space.presets))
    return next((candidate for candidate in known if digest(candidate) == wanted), None)


def _row_identity(stage: Stage) -> dict[str, Any]:
    described = {name: part for name, part in stage_json(stage).items() if name != "presets"}
    numbers = {n: files.sha256_of_bytes(x.tobytes()) for n, x in stage_tensors(stage).items()}
    return files.json_types({**described, "numbers": numbers, "name": ""})


def stage_tensors(stage: Stage) -> dict[str, np.ndarray]:
    """Return the float32 numbers of a stage.

    ``EXPERT.LAYER.NAME`` have a leading axis of members; ``basis`` are the directions of a cut, and
    ``router.MODALITY.LAYER.NAME`` the layers of routers.
    """
    tensors = {
        f"{bond.expert}.{name}": leaf
        for bond in stage.bonds
        for collection in jax.device_get(bond.variables) or ()
        for name, leaf in flatten_dict(collection, sep=".").items()
    }
    tensors |= {"basis": stage.basis} if isinstance(stage, CutSum) else {}
    tensors |= {
        f"router.{modality}.{number}.{name}": leaf
        for modality, router in stage.routers.items()
        for number, layer in enumerate(router.layers)
        for name, leaf in layer._asdict().items()
    }
    return {name: np.ascontiguousarray(leaf, np.float32) for name, leaf in tensors.items()}


def stage_json(stage: Stage) -> dict[str, Any]:
    """Return everything about a stage but its numbers, as JSON types.

    What earlier versions did not know is left out where it is theirs.
    """
    routers = {modality: asdict(router.spec) for modality, router in stage.routers.items()}
    bare = isinstance(stage, WeightedSum) and not stage.unit_experts
    later: dict[str, Any] = {"routers": routers} if routers else {}
    later |= {"unit_experts": False} if bare else {}
    return {
        "name": stage.name,
        "factors": stage.factors,
        "normalise": stage.normalise,
        "given": stage.tuned_rows,
        "fill": stage.fill if isinstance(stage, DirectSum) else FILL,
        "cut": stage.basis.shape if isinstance(stage, CutSum) else None,
        "presets": stage.presets,
        "bonds": [bond.spec.to_json() for bond in stage.bonds],
        **later,
    }


@dataclass(frozen=True)
class StageAbout:
    """What ``stage_json`` writes; see ``Stage``."""

    name: str
    factors: dict[str, Weight]
    normalise: bool
    given: dict[str, str]
    fill: Weight
    cut: tuple[Width, Width] | None
    presets: dict[str, dict[str, Weight]]
    bonds: list[dict[str, Any]]
    routers: dict[str, RouterSpec] = field(default_factory=dict)
    unit_experts: bool = True


def read_stage(
    about: StageAbout, tensors: dict[str, np.ndarray], number: int, where: object
) -> Stage:
    """Build a stage, and remove its numbers from ``tensors``.

    Args:
        about: See ``stage_json``.
        tensors: ``STAGE.EXPERT.LAYER.NAME`` to numbers.
        number: Of the stage, from 0.
        where: The file of the tensors, for messages.

    Raises:
        FreeBindError: A tensor is missing or has another shape, or the stage does not fit.
    """
    bonds = [_read_bond(bond, tensors, number, where) for bond in about.bonds]
    options = {name: getattr(about, name) for name in ("normalise", "name", "presets")}
    own = "fill" if bonds and bonds[0].direction.direct else "unit_experts"
    options[own] = getattr(about, own)
    options["routers"] = {
        modality: _read_router(spec, tensors, f"{number}.router.{modality}", where)
        for modality, spec in about.routers.items()
    }
    stage = make_stage(bonds, about.factors, tuned_rows=about.given, **options)
    if about.cut is None:
        return stage
    require_cut(stage, about.cut[1])
    basis = _take(tensors, f"{number}.basis", about.cut, where)
    return CutSum(**vars(stage), basis=basis)


def _read_bond(
    about: dict[str, Any], tensors: dict[str, np.ndarray], stage: int, where: object
) -> Bond:
    spec = BondSpec.from_json(about, where)
    shapes = jax.eval_shape(spec.init, jax.random.key(0))
    read = lambda collection: {  # noqa: E731
        name: _take(tensors, f"{stage}.{spec.expert}.{name}", leaf.shape, where)
        for name, leaf in flatten_dict(collection, sep=".").items()
    }
    return Bond(spec, Variables(*(unflatten_dict(read(part), sep=".") for part in shapes)))


def _read_router(
    spec: RouterSpec, tensors: dict[str, np.ndarray], name: str, where: object
) -> Router:
    take = lambda part, shape: _take(tensors, f"{name}.{part}", shape, where)  # noqa: E731
    layers = [
        Layer(take(f"{number}.weight", shape), take(f"{number}.bias", shape[1:]))
        for number, shape in enumerate(spec.layer_shapes)
    ]
    return Router(spec, tuple(layers))


def _take(
    tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], where: object
) -> np.ndarray:
    found = tensors.pop(name, None)
    if found is None or found.shape != shape or found.dtype != np.float32:
        raise FreeBindError(
            "the weights do not fit this space",
            where=f"{where}: {name}",
            expected=f"float32 {list(shape)}",
            got="nothing" if found is None else f"{found.dtype} {list(found.shape)}",
            fix=AGAIN,
        )
    return found
