"""Append nodes and constants to a graph: fresh names, and the forms that its opset knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import subgraphs

AXES_ARE_INPUTS = {
    "Unsqueeze": 13, "ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceMin": 18,
    "ReduceL1": 18, "ReduceL2": 18,
}  # fmt: skip
"""operator: the opset from which its axes are an input rather than an attribute"""


class Writer:
    """Appends nodes to a graph under names with a prefix that nothing in it has."""

    def __init__(self, graph: onnx.GraphProto, opset: int, prefix: str = "gram__") -> None:
        self.graph, self.opset, self.prefix = graph, opset, prefix
        taken = set(_names(graph))
        self._fresh = (
            name for i in itertools.count() if (name := f"{prefix}{i}") not in taken
        )  # endless

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node with one output; return its name."""
        name = next(self._fresh)
        self.graph.node.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def alias(self, value: str, name: str) -> None:
        """Give a value another name too."""
        node = helper.make_node("Identity", [value], [name], name=next(self._fresh))
        self.graph.node.append(node)

    def names(self, count: int) -> list[str]:
        """Return some names that nothing has."""
        return list(itertools.islice(self._fresh, count))

    def constant(self, array: Array) -> str:
        """Add an initializer; before opset 9, Constant nodes hold no integers."""
        name = next(self._fresh)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)
        self.graph.initializer.append(tensor)
        return name

    def scalar(self, value: int) -> str:
        """Add an initializer of one int64 without axes."""
        return self.constant(np.array(value, np.int64))

    def integers(self, *values: int) -> str:
        """Add an initializer of int64."""
        return self.constant(np.array(values, np.int64))

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        """Append a Reshape."""
        return self.node("Reshape", [value, self.integers(*shape)])

    def unsqueeze(self, value: str, axis: int) -> str:
        """Append an Unsqueeze."""
        if self.opset >= AXES_ARE_INPUTS["Unsqueeze"]:
            return self.node("Unsqueeze", [value, self.integers(axis)])
        return self.node("Unsqueeze", [value], axes=[axis])

    def reduce(self, op: str, value: str, *axes: int) -> str:
        """Append a reduction of some axes, or of all, which are kept with length 1."""
        if not axes:
            return self.node(op, [value], keepdims=1)
        if self.opset >= AXES_ARE_INPUTS[op]:
            return self.node(op, [value, self.integers(*axes)], keepdims=1)
        return self.node(op, [value], axes=list(axes), keepdims=1)

    def show(self, name: str, elem_type: int, shape: list[int] | None) -> None:
        """Make a value an output; shape None: rank unknown."""
        self.graph.output.append(helper.make_tensor_value_info(name, elem_type, shape))


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield every name in a graph and its subgraphs, nodes' own names included."""
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield named.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield node.name
        yield from node.output
        for subgraph in subgraphs(node):
            yield from _names(subgraph)
