"""Holds one node on the way back: what a rule reads of it, and how it appends nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.derivatives.observed import ObservedValues
from onnx_lobs.graph.model import attributes
from onnx_lobs.graph.writer import Writer


class NoDerivativeError(ModelError):
    """Says why a rule does not hold for a node; the walk back stops there and reports it."""


@dataclass(frozen=True)
class BackwardStep:
    """One node, the gradients of its outputs, and what appends the nodes of its inputs' gradients.

    Parameters
    ----------
    node
        Of the graph that is extended. Not modified.
    writer
        Appends nodes to that graph.
    values
        Shapes and fixed values of the graph.
    gradients
        Names of the gradients of the outputs, in their order; None where there is none.
    wanted
        Positions of the inputs whose gradients are asked for.
    """

    node: onnx.NodeProto
    writer: Writer
    values: ObservedValues
    gradients: tuple[str | None, ...]
    wanted: frozenset[int]

    @property
    def gradient(self) -> str:
        """Name of the gradient of the first output."""
        found = self.gradients[0]
        if found is None:
            raise NoDerivativeError("only another output than its first has a gradient")
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the first output, in which gradients are computed."""
        return self.values.types[self.node.output[0]]

    def wants(self, position: int) -> bool:
        """Whether the gradient of an input is asked for."""
        return position in self.wanted

    def has(self, position: int) -> bool:
        """Whether the node has an input at a position."""
        return position < len(self.node.input) and self.node.input[position] != ""

    def x(self, position: int = 0) -> str:
        """Return the name of an input."""
        return str(self.node.input[position])

    def y(self) -> str:
        """Return the name of the first output."""
        return str(self.node.output[0])

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an input."""
        return self.values.shapes[self.node.input[position]]

    def out_shape(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an output."""
        return self.values.shapes[self.node.output[position]]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` where the node has none of that name."""
        return attributes(self.node).get(name, default)

    def fixed(self, position: int) -> Array:
        """Return the value of an input that is the same for every batch.

        Raises
        ------
        NoDerivativeError
            When it is computed from data.
        """
        name = self.node.input[position]
        if name not in self.values.fixed:
            raise NoDerivativeError(f"its input {name!r} is computed from data")
        return self.values.fixed[name]

    def axes(self, position: int = 1) -> tuple[int, ...]:
        """Return the axes, counted from 0, that an attribute or an input names; () where none."""
        given = self.attribute("axes")
        if given is None and self.has(position):
            given = self.fixed(position).reshape(-1).tolist()
        return tuple(int(axis) % len(self.shape()) for axis in given or ())

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; return its name."""
        return self.writer.node(op, list(inputs), **attributes)

    def constant(self, values: Any) -> str:
        """Add a constant in the type of the gradients."""
        return self.writer.constant(np.asarray(values, self.dtype))

    def scaled(self, value: str, factor: float) -> str:
        """Append a product with a number."""
        return value if factor == 1 else self.op("Mul", value, self.constant(factor))

    def as_numbers(self, condition: str) -> str:
        """Append a Cast of a condition to 1 and 0: as factors which are faster than a Where."""
        kind = int(onnx.helper.np_dtype_to_tensor_dtype(self.dtype))
        return self.op("Cast", condition, to=kind)

    def reshaped(self, value: str, shape: tuple[int, ...]) -> str:
        """Append a Reshape to a shape that is known."""
        return self.writer.reshape(value, shape)

    def summed(self, gradient: str, before: tuple[int, ...], after: tuple[int, ...]) -> str:
        """Sum a gradient of shape `before` over the axes along which `after` was broadcast."""
        if before == after:
            return gradient
        lead = len(before) - len(after)
        spread = [i for i in range(len(before)) if i < lead or after[i - lead] < before[i]]
        if spread:
            gradient = self.writer.reduce("ReduceSum", gradient, *spread)
        return self.reshaped(gradient, after) if lead else gradient

    def fitted(self, gradient: str, position: int) -> str:
        """Sum a gradient of the output's shape to that of an input."""
        return self.summed(gradient, self.out_shape(), self.shape(position))


Found = Iterable[tuple[int, str]]
"""gradients of inputs: position and name"""
Rule = Callable[[BackwardStep], Found]
"""what appends the nodes that make the gradients of a node's inputs"""
