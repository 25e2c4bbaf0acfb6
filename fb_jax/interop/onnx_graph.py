"""A graph of ONNX, grown operator by operator; values are named by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fb_jax.extras import import_extra
from fb_jax.projector import Folded

OPSET, IR_VERSION = 18, 8
LEAST_SQUARE = {"native": 1e-36, "mixed": 1e-24}
"""Least squared norm that rows are divided by: native rows, and sums of unit rows."""


class Graph:
    """Nodes, inputs, outputs and constants of a graph.

    Raises:
        FreeBindError: The package onnx is not installed.
    """

    def __init__(self) -> None:
        self.onnx = import_extra("onnx", "onnx")
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(self, operator: str, *values: str, **attributes: Any) -> str:
        """Apply an operator; return the name of its output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, values, [name], **attributes))
        return name

    def constant(self, value: Any, name: str = "", dtype: type = np.float32) -> str:
        """Add numbers, under each name only once; return the name."""
        array: np.ndarray = np.asarray(value, dtype)
        name = name or f"{dtype.__name__} {array.tolist()}"
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def add_input(self, name: str, default: Any, shape: Sequence[int | str]) -> str:
        """Add an input that may be left out: a constant of its name is its default."""
        self.inputs.append(self._described(name, shape))
        return self.constant(default, name)

    def add_output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Make a value an output under a name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._described(name, shape))

    def _described(self, name: str, shape: Sequence[int | str]) -> Any:
        kind = self.onnx.TensorProto.FLOAT
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def unit(self, rows: str, kind: str = "mixed") -> str:
        """Divide rows by their norm."""
        return self.add("Div", rows, self.norm(rows, kind))

    def norm(self, rows: str, kind: str = "mixed") -> str:
        """Return the norms of rows, ``[n, 1]``, or the least to divide by."""
        least = self.constant(LEAST_SQUARE[kind])
        return self.add("Sqrt", self.add("Max", self.squares(rows), least))

    def squares(self, rows: str) -> str:
        """Return the squared norms of rows, ``[n, 1]``."""
        return self.add("ReduceSumSquare", rows, self._axis(-1), keepdims=1)

    def mean_of_highest(self, scores: str, count: int) -> str:
        """Return the mean of the highest scores of each row, ``[n, 1]``."""
        names = [f"{kind}_{len(self.nodes)}" for kind in ("highest", "where")]
        many = self.constant([count], dtype=np.int64)
        self.nodes.append(self.onnx.helper.make_node("TopK", [scores, many], names, axis=-1))
        return self.add("ReduceMean", names[0], self._axis(-1), keepdims=1)

    def as_many(self, rows: str, dim: int, others: str) -> str:
        """Return rows ``[n, dim]``; running the graph fails unless n is the number of others.

        onnxruntime's Concat skips inputs without rows, and Mul broadcasts a single row.
        """
        count = self.add("Shape", others, start=0, end=1)
        shape = self.add("Concat", count, self.constant([dim], dtype=np.int64), axis=0)
        return self.add("Reshape", rows, shape, allowzero=1)

    def side_by_side(self, blocks: Sequence[str], squares: Sequence[str]) -> str:
        """Put rows beside each other, each multiplied by the root of one of these numbers."""
        shares = [self.add("Sqrt", square) for square in squares]
        scaled = [self.add("Mul", *pair) for pair in zip(blocks, shares, strict=True)]
        return self.add("Concat", *scaled, axis=-1)

    def mixture(self, rows: str, folded: Folded, name: str) -> str:
        """Return the mean of the members' unit outputs, as ``mean_output`` computes it."""
        for layer, (weight, bias) in enumerate(zip(*folded, strict=True)):
            numbers = (("weight", weight), ("bias", bias))
            held = [self.constant(x, f"{name}.{kind}_{layer}") for kind, x in numbers]
            rows = self.affine(rows, *held)
            rows = rows if layer % 2 else self.add("Relu", rows)
        return self.add("ReduceMean", self.unit(rows), self._axis(0), keepdims=0)

    def affine(self, rows: str, weight: str, bias: str) -> str:
        """Return ``rows W + b``."""
        return self.add("Add", self.add("MatMul", rows, weight), bias)

    def _axis(self, axis: int) -> str:
        return self.constant([axis], dtype=np.int64)

    def model(self, name: str, properties: Mapping[str, str]) -> Any:
        """Return the model under a name, with texts by name."""
        helper = self.onnx.helper
        constants = list(self.constants.values())
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="freebind-jax",
        )
        helper.set_model_props(model, dict(properties))
        return model
