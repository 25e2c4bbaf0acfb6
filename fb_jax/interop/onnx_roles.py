"""Rows in a role as a part of a graph of ONNX: what ``HubCorrection.rows`` computes.

The references are constants, so a file grows by them.
"""

from __future__ import annotations

import numpy as np

from fb_jax.banks.pair_tables import pair_key
from fb_jax.fusion import HubCorrection, Role
from fb_jax.interop.onnx_graph import Graph


def in_role(graph: Graph, hubs: HubCorrection, role: Role, modality: str, rows: str) -> str:
    """Add rows in a role to a graph.

    Args:
        graph: What they are added to.
        hubs: The correction.
        role: The role.
        modality: Modality of the rows.
        rows: Name of the plain rows ``[n, d]``.

    Returns:
        Name of the rows ``[n, e]``.
    """
    zeros = graph.add("Mul", graph.squares(rows), graph.constant(0))
    if role == "query":
        added = graph.constant(np.append(hubs.asks(modality), 0)[None])
        return graph.unit(graph.add("Concat", rows, graph.add("Add", zeros, added), axis=-1))
    columns = [_column(graph, hubs, modality, asking, rows, zeros) for asking in hubs.columns]
    known = graph.add("Concat", rows, *columns, axis=-1)
    rest = graph.add("Sub", graph.constant(hubs.norm**2), graph.squares(known))
    last = graph.add("Sqrt", graph.add("Max", rest, graph.constant(0)))
    return graph.unit(graph.add("Concat", known, last, axis=-1))


def _column(
    graph: Graph, hubs: HubCorrection, modality: str, asking: str, rows: str, zeros: str
) -> str:
    """Add -alpha b of items for an asking modality, ``[n, 1]``."""
    if (hub := hubs.pairs.get(pair_key(modality, asking))) is None:
        return zeros
    references = hubs.references[asking]
    scores = graph.add("MatMul", rows, graph.constant(references.T, f"references.{asking}"))
    mean = graph.mean_of_highest(scores, min(hub.k, len(references)))
    return graph.add("Mul", mean, graph.constant(-hub.alpha))
