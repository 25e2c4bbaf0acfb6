"""A fused space as one ONNX file whose factors are inputs.

    inputs     MODALITY.SPACE    float32 [n, d] native rows of any norm; no rows by default
               factor.MODALITY   float32 scalar, weight of the expert; the space's own by default
    outputs    MODALITY          float32 [n, dim] fused rows
               MODALITY.query    float32 [n, role_dim] rows that ask, and
               MODALITY.item     rows to be found: only with hub correction

Ask for the output of a modality and give the rows of its spaces, of the same items: a run with
other numbers of rows, or without those of a space, fails. The file has opset 18 and standard
operators only. A graph cannot refuse values: where ``FusedSpace.fuse`` raises an error, for a row
that is zero or NaN or for parts that cancel out, the file returns a row that means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import jax
import numpy as np

from fb_jax import files
from fb_jax.errors import FreeBindError
from fb_jax.fusion import CutSum, DirectSum, FusedSpace, Role, Stage, WeightedSum, digest
from fb_jax.interop.onnx_graph import Graph
from fb_jax.interop.onnx_roles import in_role
from fb_jax.interop.onnx_routers import item_weights
from fb_jax.projector import Bond
from fb_jax.pseudo import Side

MOST_BYTES = (1 << 31) - (1 << 20)
"""Maximum size of all numbers: Protobuf has no larger messages, and the graph needs room."""


def write_onnx(space: FusedSpace, path: Path | str) -> None:
    """Write a space as an ONNX file; one of the same bytes may be there already.

    Args:
        space: The fused space; its factors are the defaults.
        path: File to create.

    Raises:
        FreeBindError: Something else is there, the space is planned or too large, or the package
            onnx is not installed.
    """
    path, content = Path(path), _content(space)
    if not path.exists():
        files.write_atomic(path, lambda file: file.write(content))
    elif not path.is_file() or path.read_bytes() != content:
        fix = "choose another name, or delete it"
        raise FreeBindError("something else is there already", where=path, fix=fix)


def _content(space: FusedSpace) -> bytes:
    """Return the bytes of the file: the same for the same space."""
    graph = Graph()
    _require_small(space)
    for modality in space.modalities:
        _add_outputs(graph, space, modality)
    model = graph.model(space.title, _properties(space))
    with files.explained("onnx refuses this space", space.title):
        graph.onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
    return content


def _add_outputs(graph: Graph, space: FusedSpace, modality: str) -> None:
    """Add the plain rows of a modality, and those in both roles if the space has them."""
    rows = _fused(graph, space, modality)
    graph.add_output(modality, rows, _shape(modality, space.dim))
    if space.hubs is None:
        return
    for role in get_args(Role):
        found = in_role(graph, space.hubs, role, modality, rows)
        graph.add_output(f"{modality}.{role}", found, _shape(modality, space.role_dim))


def _require_small(space: FusedSpace) -> None:
    bonds = [bond.variables for stage in space.stages for bond in stage.bonds]
    routers = [router.layers for stage in space.stages for router in stage.routers.values()]
    bases = [stage.basis for stage in space.stages if isinstance(stage, CutSum)]
    references = [] if space.hubs is None else [*space.hubs.references.values()]
    numbers = jax.tree.leaves([references, bases, routers, bonds])
    if (size := sum(array.nbytes for array in numbers)) > MOST_BYTES:
        raise FreeBindError(
            "this space is too large for an ONNX file",
            where=space.title,
            expected=f"numbers of at most {files.gigabytes(MOST_BYTES)}",
            got=files.gigabytes(size),
            fix="write the space of fewer experts: space.with_experts([...])",
        )


def _shape(modality: str, dim: int) -> list[int | str]:
    return [f"{modality} items", dim]


def _properties(space: FusedSpace) -> dict[str, str]:
    licences = {name: space.licences.get(name, "unknown") for name in space.spaces}
    known = {"factors": space.factors, "presets": space.presets, "licences": licences}
    if space.hubs is not None:
        known["scales"] = {m: space.hubs.scale(m) for m in space.modalities}
    about = {name: json.dumps(part, ensure_ascii=False) for name, part in known.items()}
    return {"space": space.title, "digest": digest(space), **about}


def _native(graph: Graph, space: FusedSpace, modality: str) -> dict[str, str]:
    """Add the inputs of a modality; return native space to unit rows of the same items."""
    inputs = {}
    for name in space.spaces_of(modality):
        shape = _shape(modality, dim := space.dims[name])
        inputs[name] = graph.add_input(f"{modality}.{name}", np.empty((0, dim)), shape)
    first, *others = inputs
    for name in others:
        inputs[name] = graph.as_many(inputs[name], space.dims[name], inputs[first])
    return {name: graph.unit(rows, "native") for name, rows in inputs.items()}


def _fused(graph: Graph, space: FusedSpace, modality: str) -> str:
    """Add the stages of a modality; see ``FusedSpace.parts``."""
    native = _native(graph, space, modality)
    route = _Route(graph, modality, native)
    start = max((i for i, s in enumerate(space.stages) if modality in s.tuned_rows), default=0)
    fused = native.get(space.stages[0].unified, "")
    for number, stage in list(enumerate(space.stages))[start:]:
        if modality not in stage.modalities:
            continue
        factor = ""
        if (own := stage.factors.get(modality)) is not None:
            last = stage is space.last
            factor = graph.add_input(f"factor.{modality}", own, []) if last else graph.constant(own)
        fused = route.stage(stage, number, fused, factor)
    return fused


@dataclass(frozen=True)
class _Route:
    """The way of one modality through the stages.

    Attributes:
        graph: What it is added to.
        modality: Name of the modality.
        native: Native space to its unit rows.
    """

    graph: Graph
    modality: str
    native: dict[str, str]

    def stage(self, stage: Stage, number: int, unified: str, factor: str) -> str:
        """Add a stage; see ``Stage.parts`` and ``Stage.mix``."""
        if self.modality in stage.tuned_rows:
            return self.native[stage.tuned_rows[self.modality]]
        weights = self._weights(stage, number)
        if isinstance(stage, DirectSum):
            mixed = self._direct_sum(stage, number, unified, factor, weights)
        else:
            assert isinstance(stage, WeightedSum)
            spec = stage.bonds[0].spec
            if self.modality not in spec.unified_modalities:
                return self._expert(stage, number, weights)
            if spec.route("unified", self.modality) is not None:
                unified = self._projected(stage.bonds[0], number, unified)
            if self.modality not in stage.shared:
                return unified
            (unified,) = self._weighed(weights, {stage.unified: unified})
            mixed = self._weighted_sum(unified, self._expert(stage, number, weights), factor)
        return self.graph.unit(mixed) if stage.normalise else mixed

    def _weights(self, stage: Stage, number: int) -> dict[str, str]:
        """Add the weights of the spaces of a stage by the item; none without a router."""
        if (router := stage.routers.get(self.modality)) is None:
            return {}
        name = f"{number}.router.{self.modality}"
        weights = item_weights(self.graph, router, self.native, name)
        return dict(zip(stage.blocks_of(self.modality), weights, strict=True))

    def _weighed(self, weights: Mapping[str, str], blocks: Mapping[str, str]) -> list[str]:
        """Multiply the rows of each space by its weights."""
        if not weights:
            return [*blocks.values()]
        return [self.graph.add("Mul", rows, weights[space]) for space, rows in blocks.items()]

    def _weighted_sum(self, unified: str, expert: str, factor: str) -> str:
        """Add ``(1 - s) * unified part + s * expert part``."""
        graph = self.graph
        rest = graph.add("Sub", graph.constant(1), factor)
        return graph.add("Add", graph.add("Mul", unified, rest), graph.add("Mul", expert, factor))

    def _expert(self, stage: WeightedSum, number: int, weights: Mapping[str, str]) -> str:
        """Add the experts' part of Eq. R2: the mean of their weighed outputs / c."""
        outputs = {
            bond.expert: self._to_target(bond, "expert", number, self.native[bond.expert])
            for bond in stage.bonds
            if self.modality in bond.shared
        }
        total = self.graph.add("Sum", *outputs.values())
        size = self.graph.norm(total) if stage.unit_experts else self.graph.constant(len(outputs))
        if weights:
            total = self.graph.add("Sum", *self._weighed(weights, outputs))
        return self.graph.add("Div", total, size)

    def _direct_sum(
        self, stage: DirectSum, number: int, unified: str, factor: str, weights: Mapping[str, str]
    ) -> str:
        """Add ``[sqrt(1 - w) u ; sqrt(w_1) e_1 ; ...]``, cut to the basis if there is one."""
        graph, shared = self.graph, [self.modality in bond.shared for bond in stage.bonds]
        blocks = {stage.unified: unified}
        for bond, own in zip(stage.bonds, shared, strict=True):
            row = self.native[bond.expert] if own else self._projected(bond, number, unified)
            blocks[bond.expert] = row
        shares = [graph.constant((1 if own else stage.fill) / len(shared)) for own in shared]
        squares = [graph.add("Mul", factor, share) for share in shares]
        rest = graph.add("Sub", graph.constant(1), graph.add("Sum", *squares))
        rest = graph.add("Max", rest, graph.constant(0))  # the sum may round to more than 1
        rows = graph.side_by_side(self._weighed(weights, blocks), [rest, *squares])
        if isinstance(stage, CutSum):
            rows = graph.add("MatMul", rows, graph.constant(stage.basis, f"{number}.basis"))
        return rows

    def _projected(self, bond: Bond, number: int, unified: str) -> str:
        return self.graph.unit(self._to_target(bond, "unified", number, self.graph.unit(unified)))

    def _to_target(self, bond: Bond, side: Side, number: int, rows: str) -> str:
        """Add what ``Bond.to_target`` computes."""
        if (route := bond.spec.route(side, self.modality)) is None:
            return rows
        name = ".".join(filter(None, [str(number), bond.expert, route]))
        return self.graph.mixture(rows, bond.folded(route), name)
