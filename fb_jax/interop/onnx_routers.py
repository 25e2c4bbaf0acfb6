"""Weights by the item as a part of a graph of ONNX: what ``Router.weights`` computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fb_jax.interop.onnx_graph import Graph
from fb_jax.projector import Router

OPERATORS = {"relu": "Relu", "tanh": "Tanh"}


def item_weights(graph: Graph, router: Router, native: Mapping[str, str], name: str) -> list[str]:
    """Add the weights of items (Eq. R1) to a graph.

    Args:
        graph: What they are added to.
        router: The router.
        native: Native space to the name of the unit rows of the items.
        name: How the names of the router's numbers begin.

    Returns:
        Names of the weights ``[n, 1]`` of each block.
    """
    spec, shape = router.spec, router.spec.shape
    x = graph.add("Concat", *(native[space] for space in spec.inputs), axis=-1)
    operators = [OPERATORS[activation] for activation in shape.activations]
    operators.append("Sigmoid" if shape.sigmoid else "")
    for number, (layer, operator) in enumerate(zip(router.layers, operators, strict=True)):
        held = [graph.constant(x, f"{name}.{kind}_{number}") for kind, x in layer._asdict().items()]
        x = graph.affine(x, *held)
        x = graph.add(operator, x) if operator else x
    shares = graph.add("Softmax", graph.add("Mul", x, graph.constant(spec.scale)), axis=-1)
    weights = graph.add("Mul", shares, graph.constant(spec.outputs))
    blocks = [graph.constant([block], dtype=np.int64) for block in range(spec.outputs)]
    return [graph.add("Gather", weights, block, axis=-1) for block in blocks]
