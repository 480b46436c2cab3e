"""Holds what operators are read from, a node's place, and what reading gives, a match."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import onnx

from onnx_lobs.graph.model import Model, Scope, attributes, first_output
from onnx_lobs.layers.chain import Root
from onnx_lobs.layers.layer import Use
from onnx_lobs.layers.layout import WeightLayout
from onnx_lobs.layers.stored_weight import StoredWeight


@dataclass(frozen=True)
class NodePlace:
    """Where a node stands: its scope, and the top-level node that is or contains it."""

    model: Model
    scope: Scope
    node: onnx.NodeProto
    top: int

    @property
    def label(self) -> str:
        """The node's name, or operator and output where it has none."""
        return self.node.name or f"{self.node.op_type}_{first_output(self.node)}"

    def attribute(self, name: str, default: object) -> object:
        """Return an attribute, or the default."""
        return attributes(self.node).get(name, default)

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return tuple(cast("tuple[int, ...]", self.attribute(name, default)))

    def use(self, tapped: str, groups: int = 1) -> Use:
        """Return the node as a use that multiplies the value `tapped` as a plain MatMul does.

        How it does otherwise is put in by who reads the operator.
        """
        return Use(
            node=self.label,
            op=self.node.op_type,
            scope=self.scope.index,
            output=first_output(self.node),
            top=self.top,
            input=tapped,
            groups=groups,
        )


@dataclass(frozen=True)
class Match:
    """A node that can be taken: its use, its weight's root, and the weight's layout.

    ``part`` is what the operator calls the weight, where it has several.
    """

    use: Use
    root: Root
    layout: WeightLayout
    part: str = ""

    @property
    def stored(self) -> StoredWeight:
        """The weight as a constant of the file."""
        return StoredWeight(self.root.scope, self.root.name, math.prod(self.root.shape))
