"""Shows a rule one node: its attributes, shapes and constants, and takes what the rule says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.graph.model import attributes
from onnx_lobs.layers.channels.axes import AxisLabels, AxisPlace, CountedNode, ReadAxis
from onnx_lobs.layers.channels.observed import Observed


@dataclass(frozen=True, eq=False)
class NodeView:
    """One node as a rule sees it.

    Parameters
    ----------
    node
        The node, of the main graph.
    observed
        Shapes and constants of its model.
    labels
        Takes joins and pins.
    carriers
        For Reshape, by first output: which of the axes that become one, or that one becomes, keeps
        its indices apart. The first where it is not there.
    """

    node: onnx.NodeProto
    observed: Observed
    labels: AxisLabels
    carriers: Mapping[str, int] = field(default_factory=dict)
    _touched: set[AxisPlace] = field(default_factory=set, init=False)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.observed.model.opset

    @property
    def label(self) -> str:
        """What the node is called in reasons."""
        return f"{self.node.op_type} {self.node.name or self.node.output[0]!r}"

    @property
    def attributes(self) -> dict[str, Any]:
        """The node's attributes as Python values."""
        return attributes(self.node)

    def input(self, position: int) -> str:
        """Return the name of an input, empty where the node has none there."""
        return self.node.input[position] if position < len(self.node.input) else ""

    @property
    def output(self) -> str:
        """Name of the first output."""
        return str(self.node.output[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the observed shape of a value."""
        return self.observed.shapes[name]

    def known(self, name: str) -> Array | None:
        """Return the values of a constant input; None for an input that is missing or not one."""
        return self.observed.known(name) if name else None

    def ids(self, name: str, axis: int) -> IntArray:
        """Return the numbers of an axis, about which the rule has its say."""
        self._touched.add((name, axis % len(self.shape(name))))
        return self.labels.ids(name, axis)

    def join(self, one: IntArray, other: IntArray) -> None:
        """Say that indices go together, pair by pair."""
        self.labels.join(one, other)

    def join_axes(self, one: str, axis: int, other: str, place: int) -> None:
        """Say that two axes of one size have the same indices."""
        self.join(self.ids(one, axis), self.ids(other, place))

    def pin_axis(self, name: str, axis: int, why: str) -> None:
        """Say that an axis has to stay as it is."""
        self.labels.pin(self.ids(name, axis), f"{self.label} {why}")

    def read(self, ids: IntArray) -> None:
        """Say that the node sums over `ids` (groups, channels), times a weight."""
        self.labels.reads.append(ReadAxis(self.output, ids))

    def count(self, multiplications: int, *factors: IntArray) -> None:
        """Say how many multiplications the node takes, and what they are in proportion to."""
        self.labels.counted.append(CountedNode(self.output, multiplications, factors))

    def pin_rest(self, why: str) -> None:
        """Pin every axis of more than one index that the rule has said nothing about."""
        for name in {*filter(None, (*self.node.input, *self.node.output))}:
            for axis, size in enumerate(self.observed.shapes.get(name, ())):
                if size > 1 and (name, axis) not in self._touched:
                    self.pin_axis(name, axis, why)


@dataclass(frozen=True, eq=False)
class NodeEdit:
    """One node whose tensors lose indices, to be changed in place.

    Parameters
    ----------
    node
        The node of the model that changes.
    view
        The same node before.
    kept
        Indices that stay, of the axes that lose some.
    constants
        Takes new constants by name.
    before
        Takes nodes to be put in front of it.
    """

    node: onnx.NodeProto
    view: NodeView
    kept: Mapping[AxisPlace, IntArray]
    constants: dict[str, Array]
    before: list[onnx.NodeProto] = field(default_factory=list)

    def kept_of(self, name: str, axis: int) -> IntArray | None:
        """Return the indices of an axis that stay; None: all."""
        return self.kept.get((name, axis % len(self.view.shape(name))))

    def size(self, name: str, axis: int) -> int:
        """Return the size of an axis afterwards."""
        kept = self.kept_of(name, axis)
        return self.view.shape(name)[axis] if kept is None else int(kept.size)

    def changes(self, name: str) -> bool:
        """Whether an axis of a tensor loses indices."""
        return any((name, axis) in self.kept for axis in range(len(self.view.shape(name))))

    def set_input(self, position: int, values: Array) -> None:
        """Give the node a constant of its own as an input."""
        while len(self.node.input) <= position:
            self.node.input.append("")
        self.node.input[position] = self.constant(np.asarray(values, np.int64))

    def constant(self, values: Array) -> str:
        """Return the name of a new constant."""
        name = self._new_name("kept")
        self.constants[name] = values
        return name

    def _new_name(self, end: str) -> str:
        """Return a name that nothing has: neither here nor where channels went before."""
        name = f"{self.node.output[0]}_{len(self.constants)}_{end}"
        while name in self.view.observed.shapes or name in self.constants:
            name += "_"
        return name

    def replace_some(self, position: int, by: dict[int, int]) -> None:
        """Give the node an input as it is computed, but for some of its numbers."""
        shape = (self.view.shape(self.view.input(position))[0],)
        is_new, new = np.zeros(shape, bool), np.zeros(shape, np.int64)
        for place, value in by.items():
            is_new[place], new[place] = True, value
        inputs = [self.constant(is_new), self.constant(new), self.node.input[position]]
        name = self._new_name("sizes")
        self.before.append(onnx.helper.make_node("Where", inputs, [name], name=name))
        self.node.input[position] = name

    def set_attribute(self, name: str, value: float | list[int] | None) -> None:
        """Set an attribute; None removes it."""
        rest = [a for a in self.node.attribute if a.name != name]
        del self.node.attribute[:]
        self.node.attribute.extend(rest)
        if value is not None:
            self.node.attribute.append(onnx.helper.make_attribute(name, value))
